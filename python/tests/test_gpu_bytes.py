"""bench/gpu_bytes.py must read what ncu prints, and say why there is nothing to read."""

from __future__ import annotations

import argparse
import shutil
from typing import Any

import pytest
from scripts import ROOT, loaded

program: Any = loaded(ROOT / "bench/gpu_bytes.py")

HEAD = '"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
SAID = [
    "==PROF== Connected to process 7",
    HEAD,
    '"0","7","forward(Args)","dram__bytes_read.sum","byte","2,000"',
    '"0","7","forward(Args)","dram__bytes_write.sum","byte","500"',
    '"0","7","forward(Args)","lts__t_sectors_srcunit_tex.sum","sector","100"',
    '"0","7","forward(Args)","launch__grid_size","","9"',
    '"1","7","merge(Args)","dram__bytes_read.sum","Kbyte","1.5"',
    '"1","7","merge(Args)","lts__t_sectors_srcunit_tex.sum","sector","1"',
]


def test_metrics_are_summed_over_kernels() -> None:
    counted = program.counted_of(SAID)
    assert counted.kernels == ["forward", "merge"]
    assert counted.bytes == {
        program.READ: 3500,
        program.WRITTEN: 500,
        program.FROM_CACHE: 101 * 32,
    }


def test_what_counts_nothing_says_so() -> None:
    with pytest.raises(program.NoCountersError, match="no kernel"):
        program.counted_of(SAID[:2])


def test_a_missing_profiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(program.NoCountersError, match="no ncu"):
        program.profile(["--once", "forward"])


def test_operands_count_once() -> None:
    assert program.least_bytes(10, 64, 2, "forward") == 10 * 2 * 4 * 64 * 2
    assert program.least_bytes(10, 64, 2, "backward") == 10 * 2 * (8 * 64 * 2 + 4)


def test_a_row_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "profile", lambda _words: program.counted_of(SAID))
    model = {"tiled_bytes": 1616.0, "tile": {"rows": 128, "columns": 64}}
    monkeypatch.setattr(program, "model_of", lambda *_given: model)
    asked = argparse.Namespace(length=4096, dim=128, dtype="bfloat16")
    row = program.row_of(asked, "forward", False)
    assert row["tiled_share"] == 2
    assert row["memory_share"] == 4000 / program.least_bytes(16384, 128, 16, "forward")
    assert "| 2.00 | 2 |" in program.line_of(row)
