"""Forward against the formulas: every option, every type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from reference import Attention, arrays, assert_close, visible

QUERIES, KEYS = 19, 37
random = np.random.default_rng(7)
MASK = random.random((2, 4, QUERIES, KEYS)) < 0.5
BLOCKS = np.array([[True, False, True], [False, True, True]])
BIAS = random.standard_normal((2, 4, QUERIES, KEYS))
SLOPES = np.array([0.5, 0.25, 0.125, 0.0625], np.float32)
SINKS = np.array([0.0, 1.5, -2.0, 3.0], np.float32)

# What is asked of tilewise, and the same in the words of the reference.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "scale": ({"scale": -0.3}, {"scale": -0.3}),
    "causal": ({"causal": True}, {"seen": visible(QUERIES, KEYS, right=0, diagonal=18)}),
    "causal top left": (
        {"causal": True, "diagonal": "top_left"},
        {"seen": visible(QUERIES, KEYS, right=0)},
    ),
    "causal shifted": (
        {"causal": True, "diagonal": -5},
        {"seen": visible(QUERIES, KEYS, right=0, diagonal=-5)},
    ),
    "window": (
        {"window": (3, 2)},
        {"seen": visible(QUERIES, KEYS, left=3, right=2, diagonal=18)},
    ),
    "window behind": (
        {"window": (None, -1)},
        {"seen": visible(QUERIES, KEYS, right=-1, diagonal=18)},
    ),
    "window ahead": (
        {"window": (-1, 5)},
        {"seen": visible(QUERIES, KEYS, left=-1, right=5, diagonal=18)},
    ),
    "window of one distance": (
        {"window": (2, -2)},
        {"seen": visible(QUERIES, KEYS, left=2, right=-2, diagonal=18)},
    ),
    "window to both sides, causal": (
        {"window": (4, 4), "causal": True},
        {"seen": visible(QUERIES, KEYS, left=4, right=0, diagonal=18)},
    ),
    "window of the left, causal": (
        {"window": (4, None), "causal": True},
        {"seen": visible(QUERIES, KEYS, left=4, right=0, diagonal=18)},
    ),
    "window behind, causal": (
        {"window": (4, -1), "causal": True},
        {"seen": visible(QUERIES, KEYS, left=4, right=-1, diagonal=18)},
    ),
    "chunk": (
        {"chunk": 5, "diagonal": "top_left"},
        {"seen": visible(QUERIES, KEYS, chunk=5)},
    ),
    "mask": ({"mask": MASK}, {"seen": MASK}),
    "mask of keys": ({"mask": MASK[0, 0, 0]}, {"seen": MASK[0, 0, 0]}),
    "mask of heads": ({"mask": MASK[0, :, :1]}, {"seen": MASK[:1, :, :1]}),
    "blocks": (
        {"block_mask": BLOCKS, "block_size": (16, 16)},
        {"seen": np.repeat(np.repeat(BLOCKS, 16, 0), 16, 1)[:QUERIES, :KEYS]},
    ),
    "bias": ({"bias": BIAS}, {"bias": BIAS}),
    "bias of heads": ({"bias": BIAS[0, :, :1]}, {"bias": BIAS[0, :, :1]}),
    "slopes": ({"alibi_slopes": SLOPES}, {"slopes": SLOPES, "diagonal": 18}),
    "slopes of the batch": (
        {"alibi_slopes": np.stack([SLOPES, 2 * SLOPES])},
        {"slopes": np.stack([SLOPES, 2 * SLOPES]), "diagonal": 18},
    ),
    "softcap": ({"softcap": 1.5, "scale": 1.0}, {"softcap": 1.5, "scale": 1.0}),
    "sinks": ({"sinks": SINKS}, {"sinks": SINKS}),
    "all": (
        {
            "causal": True,
            "mask": MASK,
            "bias": BIAS,
            "alibi_slopes": SLOPES,
            "softcap": 2.0,
            "sinks": SINKS,
        },
        {
            "seen": MASK & visible(QUERIES, KEYS, right=0, diagonal=18),
            "bias": BIAS,
            "slopes": SLOPES,
            "diagonal": 18,
            "softcap": 2.0,
            "sinks": SINKS,
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("dtype", "tolerance", "lse_tolerance"),
    [(np.float64, 1e-13, 1e-13), (np.float32, 1e-6, 1e-6), (np.float16, 2e-3, 1e-5)],
)
def test_option(name: str, dtype: type, tolerance: float, lse_tolerance: float) -> None:
    options, words = CASES[name]
    query, key, value = arrays(dtype=dtype)
    wanted = Attention(query, key, value, **words)
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    assert output.dtype == dtype
    assert lse.dtype == (np.float64 if dtype is np.float64 else np.float32)
    assert_close(output, wanted.output, tolerance)
    assert_close(lse, wanted.lse, lse_tolerance)
    alone = tilewise.attention(query, key, value, **options)
    np.testing.assert_array_equal(alone, output)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("bfloat16", 1e-2), ("float8_e4m3fn", 1e-1), ("float8_e5m2", 1e-1)],
)
def test_types_of_ml_dtypes(name: str, tolerance: float) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    query, key, value = arrays(dtype=getattr(ml_dtypes, name))
    output, lse = tilewise.attention(query, key, value, causal=True, return_lse=True)
    wanted = Attention(query, key, value, seen=visible(QUERIES, KEYS, right=0, diagonal=18))
    assert output.dtype == ml_dtypes.bfloat16
    assert lse.dtype == np.float32
    assert_close(output, wanted.output, tolerance)
    assert_close(lse, wanted.lse, 1e-5)


def test_factors_of_float8() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    query, key, value = arrays(dtype=ml_dtypes.float8_e4m3fn)
    query_factor, key_factor = 0.5, np.array([[2.0, 0.25]], np.float32)
    value_factor = np.array([[1.0, 3.0], [0.5, 2.0]], np.float32)
    output = tilewise.attention(
        query,
        key,
        value,
        query_factor=query_factor,
        key_factor=key_factor,
        value_factor=value_factor,
        output_dtype=np.float32,
    )
    wanted = Attention(
        query.astype(np.float64) * query_factor,
        key.astype(np.float64) * key_factor[:, None, :, None],
        value.astype(np.float64) * value_factor[:, None, :, None],
    )
    assert output.dtype == np.float32
    assert_close(output, wanted.output, 5e-2)


@pytest.mark.parametrize("kind", ["array", "list"])
def test_factors_in_float64(kind: str) -> None:
    query, key, value = arrays()
    factors = np.array([[1 / 3, 0.7], [1.1, 0.9]])
    given = factors if kind == "array" else factors.tolist()
    options: dict[str, Any] = {"query_factor": 0.3, "key_factor": given, "value_factor": given}
    output = tilewise.attention(query, key, value, **options)
    by_head = factors[:, None, :, None]
    wanted = Attention(query * 0.3, key * by_head, value * by_head)
    assert_close(output, wanted.output, 1e-13)


def test_a_row_that_sees_nothing() -> None:
    query, key, value = arrays(queries=8, keys=3)
    output, lse = tilewise.attention(query, key, value, causal=True, return_lse=True)
    assert (output[:, :5] == 0).all()
    assert (lse[:, :, :5] == -np.inf).all()
    assert np.isfinite(lse[:, :, 5:]).all()


@pytest.mark.parametrize("kind", ["list", "int16", "int32", "uint64"])
def test_small_things_of_other_types(kind: str) -> None:
    query, key, value = arrays(dtype=np.float32)
    lengths = np.array([20, 37])
    found = tilewise.attention(
        query,
        key,
        value,
        sinks=SINKS.tolist(),
        alibi_slopes=SLOPES.astype(np.float64),
        key_lengths=lengths.tolist() if kind == "list" else lengths.astype(kind),
    )
    wanted = tilewise.attention(
        query, key, value, sinks=SINKS, alibi_slopes=SLOPES, key_lengths=lengths
    )
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("one", [1, np.bool_(True), np.int8(1), np.uint64(1)])
def test_switches_of_other_types(one: Any) -> None:
    query, key, value = arrays(dtype=np.float32)
    np.testing.assert_array_equal(
        tilewise.attention(query, key, value, causal=one),
        tilewise.attention(query, key, value, causal=True),
    )
    np.testing.assert_array_equal(
        tilewise.attention(query, key, value, causal=type(one)(0)),
        tilewise.attention(query, key, value),
    )


def test_output_dtype() -> None:
    query, key, value = arrays(dtype=np.float16)
    wide = tilewise.attention(query, key, value, output_dtype=np.float32)
    assert wide.dtype == np.float32
    assert_close(wide, Attention(query, key, value).output, 1e-3)


def test_probabilities() -> None:
    query, key, value = arrays(dtype=np.float32)
    found = tilewise.attention_probabilities(query, key, causal=True)
    wanted = Attention(query, key, value, seen=visible(QUERIES, KEYS, right=0, diagonal=18))
    assert found.dtype == np.float32
    assert (found.max(-1) == 1).all()
    assert_close(found / found.sum(-1, keepdims=True), wanted.probability, 1e-6)
    assert ((found == 0) == (wanted.probability == 0)).all()


def test_probabilities_out() -> None:
    query, key, _ = arrays(dtype=np.float32)
    out = np.empty((2, 4, QUERIES, KEYS), np.float32)
    assert tilewise.attention_probabilities(query, key, out=out) is out
    np.testing.assert_array_equal(out, tilewise.attention_probabilities(query, key))
