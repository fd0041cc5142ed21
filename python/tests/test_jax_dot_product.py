"""tilewise.jax.dot_product_attention against jax.nn's, outputs and gradients."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import pytest
from jax_cases import both_with_gradients, close, face, grid, jax, jnp, rows

mine = face.dot_product_attention
theirs = jax.jit(
    functools.partial(jax.nn.dot_product_attention, implementation="xla"),
    static_argnames=("is_causal", "local_window_size"),
)
MASK = np.arange(13) % 4 != 1
CASES: list[dict[str, Any]] = [
    {},
    {"scale": -0.3, "local_window_size": (3, 1), "mask": MASK[None, None, None]},
    {"is_causal": True, "local_window_size": 2},
    {"is_causal": True, "query_seq_lengths": [4, 9], "key_value_seq_lengths": [13, 20]},
    {"mask": np.broadcast_to(MASK, (2, 4, 9, 13)), "local_window_size": (20, 4)},
]


def both(options: dict[str, Any], *arrays: Any, dtype: str = "float32") -> None:
    options = {
        name: jnp.asarray(x, None if name == "mask" else "int32")
        if isinstance(x, (list, np.ndarray))
        else x
        for name, x in options.items()
    }
    asked = (functools.partial(function, **options) for function in (mine, theirs))
    both_with_gradients(*asked, *arrays, dtype=dtype)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_options(options: dict[str, Any]) -> None:
    both(options, *rows(), grid(1, 4, 9, 13))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_short_types(dtype: str) -> None:
    def wide(*given: Any) -> Any:  # JAX's own has no float16 on the processor
        return theirs(*(x.astype("float32") for x in given)).astype(dtype)

    bias = grid(2, 1, 9, 13).astype(dtype)
    both_with_gradients(mine, wide, *rows(dtype=dtype), bias, dtype=dtype)


def test_doubles() -> None:
    with jax.enable_x64(True):
        query, key, value = rows(dtype="float64")
        output, lse = mine(query, key, value, return_residual=True)
        score = jnp.einsum("btkgd,bskd->bkgts", query.reshape(2, 9, 2, 2, 16), key) / 4
        wanted = jnp.einsum("bkgts,bskd->btkgd", jax.nn.softmax(score), value)
        close(output, wanted.reshape(2, 9, 4, 16), "float64")
        wanted = jax.nn.logsumexp(score, 4).reshape(2, 4, 9).swapaxes(1, 2)
        close(lse, wanted, "float64")


@pytest.mark.parametrize(
    ("heads", "bias"),
    [((3, 3), (1, 1, 1, 13)), ((6, 1), (2, 1, 9, 1)), ((6, 2), (13,)), ((6, 1), (6, 1, 1))],
)
def test_heads_and_biases(heads: tuple[int, int], bias: tuple[int, ...]) -> None:
    both({}, *rows(heads=heads), grid(*bias))


def test_a_window_that_ends_before_the_diagonal() -> None:
    found = mine(*rows(), is_causal=True, local_window_size=(5, -1))
    np.testing.assert_array_equal(found, mine(*rows(), local_window_size=(5, -1)))
    assert not found[:, 0].any()


def test_three_dimensions() -> None:
    query, key, value = (x[0] for x in rows())
    both({"is_causal": True}, query, key, value)
    output, lse = mine(query, key, value, return_residual=True)
    wanted = jax.nn.dot_product_attention(query, key, value, return_residual=True)
    close(output, wanted[0])
    close(lse, wanted[1])
    assert lse.dtype == wanted[1].dtype


def test_the_residual_has_no_gradient() -> None:
    query, key, value = rows()
    found = jax.grad(lambda x: mine(x, key, value, return_residual=True)[1].sum())(query)
    assert not np.asarray(found).any()


def test_scale_may_be_an_array() -> None:
    query, key, value = rows()

    def scaled(function: Any) -> Any:
        return lambda query, scale: function(query, key, value, scale=scale)

    both_with_gradients(scaled(mine), scaled(theirs), query, jnp.float32(0.4))
    close(mine(query, key, value, scale=np.float32(0.4)), scaled(theirs)(query, 0.4))


@pytest.mark.parametrize("function", [mine, face.attention])
def test_a_large_scale_that_is_an_array(function: Any) -> None:
    """Query times scale is more than float16 holds; the scores are not."""
    query, key, value = rows(dtype="float16")
    query, key, bias = query * 100, key * 1e-3, grid(1, 1, 9, 13).astype("float16")

    def scaled(query: Any, key: Any, value: Any, bias: Any, scale: Any) -> Any:
        return function(query, key, value, bias=bias, scale=scale)

    def wide(*given: Any) -> Any:
        *arrays, scale = given
        return theirs(*(x.astype("float32") for x in arrays), scale=scale).astype("float16")

    arrays = (query, key, value, bias, jnp.float32(1000.0))
    both_with_gradients(scaled, wide, *arrays, dtype="float16")


LENGTHS: list[Any] = [
    np.array([100, 7], "uint8"),
    np.array([100, -7], "int8"),
    jnp.array([100, 7], "uint8"),
    jnp.array([100, -7], "int8"),
    np.array([2**40, 2**63], "uint64"),
    np.array([2**40, -(2**40)]),
    [2**40, 7],
    np.array([2**31, 2**32 - 1], "uint32"),
]


@pytest.mark.parametrize("lengths", LENGTHS, ids=lambda x: f"{getattr(x, 'dtype', 'list')} {x}")
def test_lengths_of_any_integers(lengths: Any) -> None:
    query, key, value = rows(keys=300)
    wanted = [min(max(int(n), 0), 300) for n in np.asarray(lengths)]
    for function, name in ((mine, "key_value_seq_lengths"), (face.attention, "key_lengths")):
        found = function(query, key, value, **{name: lengths})
        np.testing.assert_array_equal(found, function(query, key, value, **{name: wanted}))
    seen = [theirs(query, key[:, :n], value[:, :n])[i] if n else 0 for i, n in enumerate(wanted)]
    for one, other in zip(found, seen):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(("window", "is_causal"), [(-1, False), ((-2, 1), False), ((-2, 2), True)])
def test_a_window_without_a_key(window: Any, is_causal: bool) -> None:
    """jax.nn takes it, and gives the mean of all values."""
    query, key, value = rows()
    options = {"local_window_size": window, "is_causal": is_causal}
    theirs(query, key, value, **options)
    output, lse = mine(query, key, value, **options, return_residual=True)
    assert not output.any()
    assert (lse == -np.inf).all()


def test_hidden_rows_are_zero() -> None:
    query, key, value = rows()
    mask = jnp.arange(9)[:, None] > 3

    def output(*given: Any) -> Any:
        return mine(*given, mask=mask, query_seq_lengths=jnp.array([9, 6]))

    found = output(query, key, value)
    assert not found[:, :4].any()
    assert not found[1, 6:].any()
    assert found[0, 4:].any(-1).all()
    gradient = jax.grad(lambda x: output(x, key, value).sum())(query)
    assert not gradient[:, :4].any()
    assert not gradient[1, 6:].any()
    # What lies in rows that do not count is not read.
    poisoned = query.at[1, 6:].set(jnp.nan)
    np.testing.assert_array_equal(output(poisoned, key, value), found)


@pytest.mark.parametrize("empty", ["batch", "queries", "keys"])
def test_nothing_to_do(empty: str) -> None:
    sizes: dict[str, Any] = {empty: 0}
    query, key, value = rows(**sizes)
    found = jax.grad(lambda *x: mine(*x).sum(), (0, 1, 2))(query, key, value)
    assert [x.shape for x in found] == [query.shape, key.shape, value.shape]
    assert not any(x.any() for x in found)
    assert not mine(query, key, value).any()


def test_value_may_have_a_dim_of_its_own() -> None:
    query, key, value = rows()
    wide = jnp.concatenate([value, value[..., :5]], 3)
    found = mine(query, key, wide)
    close(found[..., :16], theirs(query, key, value))
    assert found.shape == (2, 9, 4, 21)
    assert jax.grad(lambda x: mine(query, key, x).sum())(wide).shape == wide.shape


def test_implementations() -> None:
    query, key, value = rows()
    wanted = theirs(query, key, value)
    close(mine(query, key, value, implementation="xla"), wanted)
    close(mine(query, key, value, implementation="tilewise"), wanted)
    with pytest.raises(ValueError, match="Unsupported implementation"):
        mine(query, key, value, implementation="best")


def test_in_the_place_of_jaxs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = rows()
    wanted = theirs(query, key, value)
    monkeypatch.setattr(jax.nn, "dot_product_attention", mine)
    for implementation in (None, "xla"):
        close(mine(query, key, value, implementation=implementation), wanted)


def test_the_arguments_are_those_of_jax() -> None:
    found, wanted = (
        inspect.signature(function).parameters.values()
        for function in (mine, jax.nn.dot_product_attention)
    )
    assert [(x.name, x.kind, x.default) for x in found] == [
        (x.name, x.kind, x.default) for x in wanted
    ]


GIVEN = rows()
BAD: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("query has 2 dimensions; give", (GIVEN[0][0, 0], *GIVEN[1:]), {}),
    ("query is int32; give one of float16", (GIVEN[0].astype("int32"), *GIVEN[1:]), {}),
    ("key is float16 but query is float32", (GIVEN[0], GIVEN[1].astype("float16"), GIVEN[2]), {}),
    ("value has a batch of 1 but query has 2", (*GIVEN[:2], GIVEN[2][:1]), {}),
    (r"value has \(length, heads\) \(12, 2\) but key", (*GIVEN[:2], GIVEN[2][:, 1:]), {}),
    ("key has dim 15 but query has 16", (GIVEN[0], GIVEN[1][..., 1:], GIVEN[2]), {}),
    ("query has 3 heads but key has 2", (GIVEN[0][:, :, 1:], *GIVEN[1:]), {}),
    (r"bias has the shape \(3, 1, 1, 1\), which does not", GIVEN, {"bias": grid(3, 1, 1, 1)}),
    ("mask has 5 dimensions; it may have four", GIVEN, {"mask": grid(1, 1, 1, 1, 1) > 0}),
    ("mask is float32, but a mask must be bool", GIVEN, {"mask": grid(9, 13)}),
    ("query_seq_lengths is float32", GIVEN, {"query_seq_lengths": grid(2)}),
    (r"key_value_seq_lengths .* \(3,\)", GIVEN, {"key_value_seq_lengths": jnp.zeros(3, "int32")}),
    ("local_window_size is 1.5", GIVEN, {"local_window_size": 1.5}),
    (r"local_window_size is \(1, 2, 3\)", GIVEN, {"local_window_size": (1, 2, 3)}),
    (r"scale has the shape \(2,\)", GIVEN, {"scale": jnp.ones(2)}),
    ("scale is 'a'; give one number", GIVEN, {"scale": "a"}),
    ("key is None; give an array", (GIVEN[0], None, GIVEN[2]), {}),
]


@pytest.mark.parametrize(("sentence", "given", "options"), BAD, ids=lambda x: str(x)[:20])
def test_bad_arguments(sentence: str, given: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=sentence):
        mine(*given, **options)


def test_a_window_beyond_all_keys() -> None:
    close(mine(*GIVEN, local_window_size=2**70), mine(*GIVEN))
