"""kernels: what there is of the GPU's kernels, also on machines without one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
    with pytest.raises(ValueError, match="There is no kernel 'nobody'"):
        tilewise.kernels("nobody")
    with pytest.raises(NotImplementedError, match="sm_70 is too old"):
        tilewise.kernels(architectures="sm_70")
    with pytest.raises(TypeError, match="names is a list; it must be a str"):
        tilewise.kernels(["one"])  # type: ignore[arg-type]


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
