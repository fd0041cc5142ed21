"""kernels: what there is of the GPU's kernels, also on machines without one."""

from __future__ import annotations

import os

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


@pytest.mark.skipif(
    "TILEWISE_EXPECT_PACK" not in os.environ, reason="whether there is a pack is not known"
)
def test_the_package_carries_the_kernels_and_stays_small() -> None:
    listed = tilewise.kernels(architectures="sm_80,sm_90")
    for row in listed["kernels"]:
        assert row["from"] == "pack", row
        assert row["spill_bytes"] == 0, row
    size = _library.library_path().stat().st_size
    assert size <= 12e6
    assert size - listed["pack"]["bytes"] <= 4e6
