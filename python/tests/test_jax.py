"""tilewise on JAX's arrays: forward, on the processor, and attention alone on GPUs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from reference import arrays
from tilewise import _handlers, _others

jax: Any = pytest.importorskip("jax", reason="jax is not installed: its arrays are not tested")


def given() -> Any:
    return tuple(map(jax.numpy.asarray, arrays(dtype=np.float32)))


def test_arrays_come_back_as_they_came() -> None:
    query, key, value = given()
    mask = jax.numpy.arange(37) < 30
    output, lse = tilewise.attention(query, key, value, mask=mask, causal=True, return_lse=True)
    for x in (output, lse):
        assert isinstance(x, jax.Array)
        assert x.devices() == query.devices()
    wanted = tilewise.attention(*arrays(dtype=np.float32), mask=np.asarray(mask), causal=True)
    np.testing.assert_allclose(np.asarray(output), wanted, rtol=1e-4, atol=1e-5)
    half = tilewise.attention(*(x.astype(jax.numpy.bfloat16) for x in given()))
    assert half.dtype == jax.numpy.bfloat16


def test_the_processors_bits() -> None:
    if jax.default_backend() != "cpu":  # asked late: other files say how many devices
        pytest.skip("JAX's arrays do not lie on the processor here")
    output, lse = tilewise.attention(*given(), return_lse=True)
    wanted = tilewise.attention(*arrays(dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(output), wanted)
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


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes all JAX arrays appear to lie on a GPU."""
    pytest.importorskip("jax.ffi", reason="this jax has no foreign function interface")
    if not _handlers.path().exists():
        pytest.skip("this build has no part for JAX")
    monkeypatch.setattr(_others, "_platforms", lambda _: ["gpu"])


@pytest.mark.usefixtures("a_gpu")
def test_attention_on_a_gpu_is_of_the_package_for_jax() -> None:
    plain = arrays(dtype=np.float32)
    options: dict[str, Any] = {"causal": True, "window": (9, None), "softcap": 3.0, "scale": 0.2}
    lists: dict[str, Any] = {"sinks": [0.0, 1.0, 2.0, 3.0], "key_lengths": [30, 37]}
    more: dict[str, Any] = {"threads": 1, "dropout": 0.0, "page_table": None}
    attention: Any = tilewise.attention
    found = attention(*given(), return_lse=True, **options, **lists, **more)
    wanted = attention(*plain, return_lse=True, **options, **lists)
    for x, y in zip(found, wanted):
        assert isinstance(x, jax.Array)
        np.testing.assert_allclose(np.asarray(x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("a_gpu")
def test_what_arrays_on_a_gpu_cannot_have() -> None:
    query, key, value = given()
    attention: Any = tilewise.attention
    table = jax.numpy.zeros((2, 1), "int32")
    for name, x in (("dropout", 0.5), ("chunk", 4), ("page_table", table), ("output_dtype", "f4")):
        with pytest.raises(NotImplementedError, match=f"^{name} is given, which"):
            attention(query, key, value, **{name: x})
    with pytest.raises(NotImplementedError, match=r"^outputs\[0\] lies on gpu; .* jax\.device_put"):
        tilewise.merge([query], [value])
    with pytest.raises(ValueError, match=r"^query has 3 dimensions"):
        attention(query[0], key, value)
    with pytest.raises(ValueError, match=r"^workspace is a JAX array"):
        attention(query, key, value, workspace=table)
    for name in ("out", "workspace"):
        with pytest.raises(ValueError, match=f"^{name} is given, and query is a JAX array on a"):
            attention(query, key, value, **{name: np.zeros((2, 19, 4, 24), np.float32)})
    with pytest.raises(ValueError, match=r"^device is 'cuda', but query is a JAX array"):
        attention(query, key, value, device="cuda")
    with pytest.raises(TypeError, match=r"^casual is no option of attention; did you mean causal"):
        attention(query, key, value, casual=True)
