"""Gradients against the formulas, and against differences of forward itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from reference import Array, Attention, arrays, assert_close
from test_forward import BIAS, CASES, SINKS, SLOPES


def run(
    options: dict[str, Any], dtype: type, words: dict[str, Any]
) -> tuple[tilewise.Gradients, dict[str, Array]]:
    """Gradients by tilewise and by the reference, with gradients that arrive at output and lse."""
    query, key, value = arrays(dtype=dtype)
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    random = np.random.default_rng(3)
    arriving: Array = random.standard_normal(output.shape).astype(dtype)
    arriving_lse = random.standard_normal(lse.shape).astype(lse.dtype)
    found = tilewise.attention_backward(
        arriving, query, key, value, output, lse, lse_gradient=arriving_lse, **options
    )
    return found, Attention(query, key, value, **words).gradients(arriving, arriving_lse)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-6), (np.float16, 6e-3)]
)
def test_option(name: str, dtype: type, tolerance: float) -> None:
    found, wanted = run(CASES[name][0], dtype, CASES[name][1])
    for field, gradient in zip(found._fields, found):
        if field not in wanted:
            assert gradient is None
            continue
        assert gradient is not None
        is_single = gradient.dtype == np.float32
        assert_close(gradient, wanted[field], max(tolerance, 1e-6) if is_single else tolerance)


def test_slopes_and_sinks_in_float64() -> None:
    query, key, value = arrays()
    random = np.random.default_rng(6)
    slopes, sinks = random.random((2, 4)), random.standard_normal(4)
    words: dict[str, Any] = {"slopes": slopes, "sinks": sinks, "diagonal": 18}
    reference = Attention(query, key, value, **words)
    arriving = random.standard_normal(reference.output.shape)
    wanted = reference.gradients(arriving)
    for sinks_given, slopes_given in ((sinks, slopes), (sinks.tolist(), slopes.astype(">f8"))):
        options: dict[str, Any] = {"alibi_slopes": slopes_given, "sinks": sinks_given}
        output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
        assert_close(lse, reference.lse, 1e-13)
        found = tilewise.attention_backward(arriving, query, key, value, output, lse, **options)
        for name in ("slopes", "sinks"):
            gradient = getattr(found, name)
            assert gradient.dtype == np.float64
            assert gradient.dtype.isnative
            assert_close(gradient, wanted[name], 1e-12)


@pytest.mark.parametrize(
    ("dtype", "given", "result", "tolerance"),
    [
        (np.float64, np.float32, np.float32, 1e-6),
        (np.float64, np.float16, np.float64, 1e-12),
        (np.float64, np.int32, np.float64, 1e-12),
        (np.float32, np.float64, np.float32, 3e-6),
        (np.float16, np.float16, np.float32, 6e-3),
    ],
)
def test_types_of_slopes_and_sinks(
    dtype: type, given: type, result: type, tolerance: float
) -> None:
    query, key, value = arrays(dtype=dtype)
    small: Array = np.array([0, 1, 0, 2], given)
    options: dict[str, Any] = {"alibi_slopes": small, "sinks": small}
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    found = tilewise.attention_backward(output, query, key, value, output, lse, **options)
    assert found.slopes is not None
    assert found.sinks is not None
    assert found.slopes.dtype == found.sinks.dtype == result
    wanted = Attention(query, key, value, slopes=small, sinks=small, diagonal=18)
    gradients = wanted.gradients(output)
    for name in ("slopes", "sinks"):
        assert_close(getattr(found, name), gradients[name], tolerance)


def directional(query: Array, key: Array, value: Array, options: dict[str, Any]) -> float:
    """A number made of all results: sum(output * cos) + sum(lse * sin)."""
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    return float(
        (output * np.cos(np.arange(output.size)).reshape(output.shape)).sum()
        + (lse * np.sin(np.arange(lse.size)).reshape(lse.shape)).sum()
    )


@pytest.mark.parametrize("part", ["query", "key", "value", "bias"])
def test_differences_of_forward(part: str) -> None:
    names = ("query", "key", "value")
    given: dict[str, Array] = dict(zip(names, arrays()), bias=BIAS)
    rest: dict[str, Any] = {
        "causal": True,
        "softcap": 2.0,
        "sinks": SINKS,
        "alibi_slopes": SLOPES,
        "dropout": 0.25,
        "seed": 11,
    }
    options = {**rest, "bias": BIAS}
    output, lse = tilewise.attention(*arrays(), return_lse=True, **options)
    gradients = tilewise.attention_backward(
        np.cos(np.arange(output.size)).reshape(output.shape),
        given["query"],
        given["key"],
        given["value"],
        output,
        lse,
        lse_gradient=np.sin(np.arange(lse.size)).reshape(lse.shape),
        **options,
    )
    direction = np.random.default_rng(5).standard_normal(given[part].shape)
    step, ends = 1e-5, []
    for side in (step, -step):
        moved = {**given, part: given[part] + side * direction}
        bias = moved.pop("bias")
        ends.append(directional(**moved, options={**rest, "bias": bias}))
    wanted = (ends[0] - ends[1]) / (2 * step)
    found = float((getattr(gradients, part) * direction).sum())
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_only_the_gradients_wanted() -> None:
    query, key, value = arrays(dtype=np.float32)
    options: dict[str, Any] = {"bias": BIAS[0], "sinks": SINKS, "alibi_slopes": SLOPES}
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    some = tilewise.attention_backward(
        output,
        query,
        key,
        value,
        output,
        lse,
        query_gradient=False,
        value_gradient=False,
        bias_gradient=False,
        slopes_gradient=False,
        **options,
    )
    every = tilewise.attention_backward(output, query, key, value, output, lse, **options)
    assert [name for name in some._fields if getattr(some, name) is not None] == ["key", "sinks"]
    assert all(gradient is not None for gradient in every)
    assert some.key is not None
    assert some.sinks is not None
    assert_close(some.key, np.asarray(every.key), 1e-6)
    assert_close(some.sinks, np.asarray(every.sinks), 1e-6)


def test_shapes_and_types_of_gradients() -> None:
    query, key, value = arrays(dtype=np.float16)
    bias = BIAS[0, :, :1].astype(np.float32)
    output, lse = tilewise.attention(query, key, value, bias=bias, return_lse=True)
    gradients = tilewise.attention_backward(output, query, key, value, output, lse, bias=bias)
    for name, given in (("query", query), ("key", key), ("value", value), ("bias", bias)):
        gradient = getattr(gradients, name)
        assert gradient.shape == given.shape
        assert gradient.dtype == given.dtype


def test_gradients_into_one_interleaved_array() -> None:
    query, key, value = arrays(queries=9, keys=9, key_heads=4, value_dim=16, dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    wanted = tilewise.attention_backward(output, query, key, value, output, lse)
    together = np.full((2, 9, 3, 4, 16), np.nan, np.float32)
    parts = tilewise.Gradients(*(together[:, :, part] for part in range(3)))
    found = tilewise.attention_backward(output, query, key, value, output, lse, out=parts)
    assert found.key is not None
    assert np.shares_memory(found.key, together)
    for part, name in enumerate(("query", "key", "value")):
        np.testing.assert_array_equal(together[:, :, part], getattr(wanted, name))


def test_deterministic() -> None:
    query, key, value = arrays(queries=70, keys=150, dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    runs = [
        tilewise.attention_backward(
            output, query, key, value, output, lse, deterministic=True, threads=threads
        )
        for threads in (2, 2, 1)
    ]
    for name in ("query", "key", "value"):
        for other in runs[1:]:
            np.testing.assert_array_equal(getattr(runs[0], name), getattr(other, name))


def test_float8() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    query, key, value = arrays(dtype=ml_dtypes.float8_e4m3fn)
    output, lse = tilewise.attention(query, key, value, return_lse=True, output_dtype=np.float32)
    arriving = np.random.default_rng(3).standard_normal(output.shape).astype(query.dtype)
    found = tilewise.attention_backward(
        arriving, query, key, value, output, lse, output_gradient_factor=0.5
    )
    wanted = Attention(query, key, value).gradients(arriving.astype(np.float64) * 0.5)
    for name, gradient in wanted.items():
        assert getattr(found, name).dtype == ml_dtypes.bfloat16
        assert_close(getattr(found, name), gradient, 5e-2)


def test_float8_with_factors() -> None:
    """Gradients are with respect to factor * element, so no factor is left in them."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    query, key, value = arrays(dtype=ml_dtypes.float8_e4m3fn)
    factors = np.array([[0.25, 4], [2, 0.5]], np.float32)
    options: dict[str, Any] = {"key_factor": factors, "value_factor": factors[::-1]}
    options["query_factor"] = 0.5
    output, lse = tilewise.attention(
        query, key, value, return_lse=True, output_dtype=np.float32, **options
    )
    arriving = np.random.default_rng(3).standard_normal(output.shape).astype(np.float32)
    out = tilewise.Gradients(*(np.empty(each.shape, np.float32) for each in (query, key, value)))
    found = tilewise.attention_backward(
        arriving, query, key, value, output, lse, out=out, **options
    )
    by_head = factors[:, None, :, None]
    meant = (
        query.astype(np.float64) * 0.5,
        key.astype(np.float64) * by_head,
        value.astype(np.float64) * by_head[::-1],
    )
    for name, gradient in Attention(*meant).gradients(arriving).items():
        assert_close(getattr(found, name), gradient, 1e-5)


def test_lse_of_a_row_that_sees_only_the_sink() -> None:
    query, key, value = arrays(queries=8, keys=3)
    options: dict[str, Any] = {"causal": True, "sinks": SINKS}
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    arriving = np.zeros_like(lse)
    arriving[:, :, :5] = np.random.default_rng(3).standard_normal((2, 4, 5))
    found = tilewise.attention_backward(
        np.zeros_like(output), query, key, value, output, lse, lse_gradient=arriving, **options
    )
    assert found.sinks is not None
    assert_close(found.sinks, arriving.sum((0, 2)), 1e-6)
    for name in ("query", "key", "value"):
        assert not getattr(found, name).any()
