"""tilewise.jax.attention against tilewise.attention, whose options it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from jax_cases import close, face, grid, jax, jnp, rows

OPTIONS: list[dict[str, Any]] = [
    {"causal": True, "softcap": 2.0, "alibi_slopes": grid(4), "sinks": grid(4)},
    {"window": (4, None), "diagonal": 2, "alibi_slopes": grid(2, 4), "scale": 0.2},
    {"window": (2, -1), "diagonal": "top_left", "bias": grid(1, 4, 9, 13)},
    {"causal": True, "query_lengths": np.array([9, 5]), "key_lengths": np.array([6, 13])},
]
GRADIENTS = ("query", "key", "value", "bias", "alibi_slopes", "sinks")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_results_and_gradients(options: dict[str, Any]) -> None:
    given = dict(zip(GRADIENTS, rows()))
    more = {name: x for name, x in options.items() if name in GRADIENTS}
    rest = {name: x for name, x in options.items() if name not in GRADIENTS}
    # float32 beside float32: NumPy's call takes the same numbers.
    arriving = grid(2, 9, 4, 16), grid(2, 4, 9)

    def loss(arrays: Any) -> Any:
        query, key, value = (arrays[name] for name in GRADIENTS[:3])
        named = {name: arrays[name] for name in more}
        output, lse = face.attention(query, key, value, **named, **rest, return_lse=True)
        seen = jnp.where(jnp.isfinite(lse), lse, 0)
        return (output * arriving[0]).sum() + (seen * arriving[1]).sum(), (output, lse)

    found, (output, lse) = jax.jit(jax.grad(loss, has_aux=True))({**given, **more})
    query, key, value = (np.asarray(x) for x in given.values())
    plain: Any = {name: np.asarray(x) if name in more else x for name, x in options.items()}
    wanted = tilewise.attention(query, key, value, return_lse=True, **plain)
    close(output, wanted[0])
    close(jnp.exp(lse), np.exp(wanted[1]))
    lse_gradient = np.where(np.isfinite(wanted[1]), np.asarray(arriving[1]), 0)
    gradients = tilewise.attention_backward(
        np.asarray(arriving[0]), query, key, value, *wanted, lse_gradient=lse_gradient, **plain
    )
    names = {"alibi_slopes": "slopes"}
    for name, x in found.items():
        close(x, getattr(gradients, names.get(name, name)))


@pytest.mark.parametrize("mapped", [("query", "sinks", "slopes"), ("query",)])
def test_vmap_of_slopes_and_sinks(mapped: tuple[str, ...]) -> None:
    query, key, value = rows()
    arrays = {"query": query, "slopes": grid(4), "sinks": grid(4) + 1}
    arrays = {name: jnp.stack([x, x + 1]) if name in mapped else x for name, x in arrays.items()}
    axes = {name: 0 if name in mapped else None for name in arrays}

    def loss(arrays: Any) -> Any:
        more = {"alibi_slopes": arrays["slopes"], "sinks": arrays["sinks"]}
        return (face.attention(arrays["query"], key, value, **more) ** 2).sum()

    found = jax.vmap(jax.grad(loss), (axes,))(arrays)
    for i in range(2):
        one = {name: x[i] if name in mapped else x for name, x in arrays.items()}
        for name, x in jax.grad(loss)(one).items():
            close(found[name][i], x)


def test_deterministic() -> None:
    query, key, value = rows(queries=300, keys=300)

    def gradient(x: Any) -> Any:
        return jax.grad(lambda key: face.attention(x, key, value, deterministic=True).sum())(key)

    np.testing.assert_array_equal(gradient(query), gradient(query))
    assert "deterministic = 1" in jax.jit(gradient).lower(query).as_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"alibi_slopes": grid(3)}, r"alibi_slopes has the shape \(3,\); give \(4,\) or \(2, 4\)"),
        ({"sinks": grid(2, 4)}, r"sinks has the shape \(2, 4\); give \(4,\)"),
        ({"window": 3}, r"window is 3; give \(left, right\)"),
        ({"window": (1, 2, 3)}, "window is .* give"),
        ({"diagonal": "middle"}, "diagonal is 'middle'; give"),
        ({"key_lengths": [1, 2, 3]}, "key_lengths is int.. of the shape"),
        ({"softcap": -1.0}, "softcap"),
    ],
)
def test_bad_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        jax.block_until_ready(face.attention(*rows(), **options))
