"""Attention over parts of the keys, merged."""

from __future__ import annotations

import numpy as np
import pytest
import tilewise
from reference import Array, Attention, arrays, assert_close

SINKS = np.array([0.0, 1.5, -2.0, 3.0], np.float32)


@pytest.mark.parametrize("sinks", [None, SINKS, SINKS.astype(np.float64) / 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_merge(sinks: Array | None, dtype: type, tolerance: float) -> None:
    query, key, value = arrays(dtype=dtype)
    parts = [
        tilewise.attention(query, key[:, first:last], value[:, first:last], return_lse=True)
        for first, last in ((0, 5), (5, 6), (6, 37))
    ]
    output, lse = tilewise.merge([part[0] for part in parts], [part[1] for part in parts], sinks)
    wanted = Attention(query, key, value, sinks=sinks)
    assert output.dtype == dtype
    assert_close(output, wanted.output, tolerance)
    assert_close(lse, wanted.lse, tolerance)


def test_a_part_that_saw_nothing() -> None:
    query, key, value = arrays()
    whole = tilewise.attention(query, key, value, return_lse=True)
    nothing = np.zeros_like(whole[0]), np.full_like(whole[1], -np.inf)
    output, lse = tilewise.merge(*zip(nothing, whole, nothing))
    assert_close(output, whole[0], 1e-15)
    assert_close(lse, whole[1], 1e-15)


def test_into_given_arrays() -> None:
    query, key, value = arrays(dtype=np.float32)
    whole = tilewise.attention(query, key, value, return_lse=True)
    out, lse_out = np.empty_like(whole[0]), np.empty_like(whole[1])
    output, lse = tilewise.merge(*zip(whole), out=out, lse_out=lse_out)
    assert output is out
    assert lse is lse_out
    assert_close(out, whole[0], 1e-6)


def test_numbers_of_parts_must_agree() -> None:
    output, lse = np.zeros((1, 2, 1, 4), np.float32), np.zeros((1, 1, 2), np.float32)
    with pytest.raises(ValueError, match=r"outputs has 2 parts and lses has 1"):
        tilewise.merge([output, output], [lse])
    with pytest.raises(ValueError, match=r"at least one"):
        tilewise.merge([], [])
