"""tilewise on JAX's arrays: forward, on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from reference import arrays

jax: Any = pytest.importorskip("jax", reason="jax is not installed: its arrays are not tested")


def given() -> Any:
    return tuple(map(jax.numpy.asarray, arrays(dtype=np.float32)))


def test_arrays_come_back_as_they_came() -> None:
    query, key, value = given()
    mask = jax.numpy.arange(37) < 30
    output, lse = tilewise.attention(query, key, value, mask=mask, causal=True, return_lse=True)
    assert isinstance(output, jax.Array)
    assert isinstance(lse, jax.Array)
    wanted = tilewise.attention(*arrays(dtype=np.float32), mask=np.asarray(mask), causal=True)
    np.testing.assert_array_equal(np.asarray(output), wanted)
    half = tilewise.attention(*(x.astype(jax.numpy.bfloat16) for x in given()))
    assert half.dtype == jax.numpy.bfloat16
    merged = tilewise.merge([output, output], [lse, lse])
    np.testing.assert_allclose(np.asarray(merged[0]), wanted, rtol=1e-5, atol=1e-6)


def test_what_jax_cannot_have() -> None:
    query, key, value = given()
    with pytest.raises(TypeError, match=r"^query is traced by .* call tilewise\.jax\.attention"):
        jax.jit(tilewise.attention)(query, key, value)
    with pytest.raises(TypeError, match=r"^key is a ndarray; pass a JAX array"):
        tilewise.attention(query, np.asarray(key), value)
    with pytest.raises(ValueError, match=r"^out is a JAX array, which cannot be written"):
        tilewise.attention(query, key, value, out=jax.numpy.zeros((2, 19, 4, 24)))
