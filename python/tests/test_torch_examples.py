"""The programs in examples, each in a short form."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import ROOT, loaded
from torch_cases import close, rows, torch

train_gpt: Any = loaded(ROOT / "examples/train_gpt.py")
long_context: Any = loaded(ROOT / "examples/long_context.py")
torch_table: Any = loaded(ROOT / "bench/torch_table.py")


def test_a_gpt_learns(capsys: pytest.CaptureFixture[str]) -> None:
    losses = train_gpt.main(["--tiny", "--steps", "40"])
    assert sum(losses[-5:]) / 5 < losses[0] - 0.5
    printed = capsys.readouterr().out
    assert " |*" in printed
    assert "one step" in printed


def test_its_attentions_are_one(capsys: pytest.CaptureFixture[str]) -> None:
    given = rows(2, 9, 3, 8), rows(2, 9, 3, 8, seed=1), rows(2, 9, 3, 8, seed=2)
    wanted = train_gpt.ATTENTIONS["eager"](*given)
    for attention in train_gpt.ATTENTIONS.values():
        close(attention(*given), wanted)
    medians = train_gpt.main(["--bench", "--tiny", "--steps", "2"])
    assert list(medians) == ["tilewise", "sdpa", "eager"]
    assert "a step; tilewise takes" in capsys.readouterr().out


def test_curve() -> None:
    picture = train_gpt.curve([4.0, 3.0, 2.0, 1.0], rows=4).splitlines()
    assert picture == [" 4.00 |*", " 3.00 | *", " 2.00 |  *", " 1.00 |   *"]


def test_a_long_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    ours, whole = long_context.main(["--length", "6144", "--dim", "16"])
    assert ours.bytes < whole.bytes / 4
    printed = capsys.readouterr().out
    assert "not run: counted from the line above" in printed
    assert "One matrix of scores of this length takes 0.14 GiB" in printed


def test_the_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_table, "memory", lambda *_: 3 * 2**20)
    torch_table.main(["--lengths", "64", "--heads", "2", "--rounds", "2", "--milliseconds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert torch.__version__ in lines[0]
    assert [line.split("|")[2].strip() for line in lines[4:]] == ["tilewise", "SDPA", "eager"]
    assert lines[4].endswith("| 3 MiB |")


def test_the_table_on_a_gpu_waits_at_the_ends_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            seen.append("record")

        def synchronize(self) -> None:
            seen.append("wait for it")

        def elapsed_time(self, _last: Any) -> float:
            return 12.0

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: seen.append("wait"))
    assert torch_table.elapsed(lambda: seen.append("call"), 2, False) == 12.0
    assert seen == ["wait", "record", "call", "call", "record", "wait for it"]


def test_examples_are_typed(tmp_path: Path) -> None:
    """By mypy --strict, as their readers would, with torch's own types."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    programs = [*(ROOT / "examples").glob("*.py"), ROOT / "bench/torch_table.py"]
    options = ["--strict", "--config-file", os.devnull, "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, programs)],
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(ROOT / "examples")},
    )
    assert done.returncode == 0, done.stdout
