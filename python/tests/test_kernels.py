"""kernels: what there is of the GPU's kernels, also on machines without one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tilewise
from tilewise import _library


def test_every_kernel_is_listed_for_each_architecture() -> None:
    listed = tilewise.kernels("*_forward_*", architectures="sm_80,sm_90")
    rows = listed["kernels"]
    assert {row["arch"] for row in rows} == {"sm_80", "sm_90"}
    assert {"tilewise_plain_forward_float", "tilewise_plain_forward_double"} <= {
        row["variant"] for row in rows
    }
    assert len(tilewise.kernels(architectures="sm_90")["kernels"]) > len(rows) / 2


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no kernel 'nobody': `tilewise\.kernels\(\)` names all"):
        tilewise.kernels("nobody")
    with pytest.raises(NotImplementedError, match="sm_70 is too old"):
        tilewise.kernels(architectures="sm_70")
    with pytest.raises(TypeError, match="names is a list; it must be a str"):
        tilewise.kernels(["one"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"driver is a float; it must be a str, as '12\.4'"):
        tilewise.kernels(driver=12.4)  # type: ignore[arg-type]
    for driver in ("11.8", "12", "12.96", "570.86.15", " 12.4"):
        with pytest.raises(ValueError, match=r"it must be a CUDA version from 12\.0 on, as"):
            tilewise.build_kernels(driver=driver)


BUILDS = """
import tilewise
try:
    print(tilewise.build_kernels("*plain_merge", architectures="sm_90"))
except RuntimeError as error:
    print(error)
print(tilewise.clear_kernels())
"""


def test_they_are_built_and_cleared(tmp_path: Path) -> None:
    kept = tmp_path / ("a" * 64 + "-12080-7.cubin")
    kept.write_text("a kernel")
    tmp_path.chmod(0o700)
    nowhere = {"TILEWISE_CACHE": str(tmp_path), "TILEWISE_NVRTC": "/nowhere/libnvrtc.so.12"}
    said = subprocess.run(
        [sys.executable, "-c", BUILDS],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    # A library that carries a pack has nothing to build.
    assert said[0] == "1" or said[0].startswith("TILEWISE_NVRTC names /nowhere/libnvrtc.so.12")
    assert said[1] == "1"
    assert not kept.exists()


def test_whoever_stops_a_build_waits_for_no_more_than_its_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[int] = []

    def builds(_name: str, _choice: object, progress: Any, _host: object) -> None:
        for done in range(10**6):
            answers.append(progress(None, done, 10**6, None))
            if not answers[-1]:
                time.sleep(0.3)  # for the kernels that are being compiled
                answers.append(-1)
                raise RuntimeError("The caller has stopped it.")
            time.sleep(0.01)

    monkeypatch.setattr(_library, "call", builds)
    threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        tilewise.build_kernels()
    assert answers[-2:] == [0, -1], "it has to end before the exception is raised"
    assert answers.count(0) == 1


@pytest.mark.skipif(
    "TILEWISE_EXPECT_PACK" not in os.environ, reason="whether there is a pack is not known"
)
def test_the_package_carries_the_kernels_and_stays_small() -> None:
    listed = tilewise.kernels(architectures="sm_80,sm_90")
    for row in listed["kernels"]:
        assert row["from"] == "pack", row
        assert row["spill_bytes"] == 0, row
    size = _library.library_path().stat().st_size
    assert size <= 20e6
    assert size - listed["pack"]["bytes"] <= 4e6
