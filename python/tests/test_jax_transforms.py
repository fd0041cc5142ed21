"""tilewise.jax inside of JAX's transformations: jit, vmap, checkpoint, scan, donation, export."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from jax_cases import both_with_gradients, close, face, grid, jax, jnp, rows

mine = face.dot_product_attention
theirs = functools.partial(jax.nn.dot_product_attention, implementation="xla")


def three(x: Any) -> Any:
    return jnp.stack([x, x[::-1] + 1, -x])


# Which of query, key, value, bias, mask and lengths are mapped; and the bias's batch.
MAPPED: list[tuple[tuple[int | None, ...], int]] = [
    ((0, 0, 0, 0, 0, 0), 2),
    ((0, 0, 0, 0, 0, None), 1),
    ((0, None, None, None, None, 0), 1),
    ((None, 0, 0, None, None, None), 2),
]


@pytest.mark.parametrize(("axes", "batch"), MAPPED)
def test_vmap(axes: tuple[int | None, ...], batch: int) -> None:
    mask = jnp.arange(13)[None, None, None] % 3 < 2
    several = [
        *map(three, (*rows(), grid(batch, 1, 9, 13))),
        jnp.stack([mask, mask[..., ::-1], mask]),
        jnp.array([[5, 13], [1, 7], [13, 2]]),
    ]
    *floats, mask, lengths = (x[0] if axis is None else x for x, axis in zip(several, axes))

    def mapped(function: Any) -> Any:
        def one(query: Any, key: Any, value: Any, bias: Any, mask: Any, lengths: Any) -> Any:
            return function(query, key, value, bias, mask, key_value_seq_lengths=lengths)

        return lambda *given: jax.vmap(one, axes)(*given, mask, lengths)

    both_with_gradients(mapped(mine), mapped(theirs), *floats)


def test_vmap_of_gradients() -> None:
    query, key, value = rows()
    bias = grid(1, 4, 9, 13)

    def gradients(function: Any) -> Any:
        every = jax.grad(lambda *x: (function(*x) ** 2).sum(), (0, 1, 2, 3))
        twice = jax.vmap(jax.vmap(every, (0, None, None, None)), (None, 0, None, None))
        return jax.jit(twice)(three(query), three(key), value, bias)

    for found, wanted in zip(gradients(mine), gradients(theirs)):
        close(found, wanted)


def test_checkpoint_and_scan() -> None:
    query, key, value = rows(keys=9, heads=(4, 4))

    def layers(function: Any) -> Any:
        def layer(x: Any, _: Any) -> Any:
            return x + function(x, key, x * value, is_causal=True), None

        def output(query: Any) -> Any:
            return jax.lax.scan(jax.checkpoint(layer), query, None, length=3)[0]

        return output

    both_with_gradients(layers(mine), layers(theirs), query)


def test_gradients_that_nobody_wants_are_not_made() -> None:
    query, key, value = rows()
    bias = grid(1, 4, 9, 13)

    def lowered(*wanted: int) -> Any:
        gradients = jax.jit(jax.grad(lambda *x: mine(*x).sum(), wanted))
        return gradients.lower(query, key, value, bias).as_text()

    assert 'results = "key_gradient"' in lowered(1)
    assert 'results = "bias_gradient query_gradient"' in lowered(0, 3)


def test_donated_arrays_and_others_of_numpy() -> None:
    query, key, value = rows()
    wanted = theirs(query, key, value)
    donating = jax.jit(mine, donate_argnums=0)
    close(donating(jnp.array(query), key, value), wanted)
    close(mine(*map(np.asarray, (query, key, value))), wanted)


def test_exported() -> None:
    export = pytest.importorskip("jax.export")
    query, key, value = rows()
    named = export.DisabledSafetyCheck.custom_call("tilewise_forward")
    exported = export.export(jax.jit(mine), disabled_checks=[named])(query, key, value)
    close(exported.call(query, key, value), theirs(query, key, value))
    with pytest.raises(ValueError, match="custom calls whose targets have no compat"):
        export.export(jax.jit(mine))(query, key, value)
    (batch,) = export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in (query, key, value)]
    with pytest.raises(NotImplementedError, match="must know the numbers"):
        export.export(jax.jit(mine), disabled_checks=[named])(*shapes)


def test_without_compiling_and_without_running() -> None:
    query, key, value = rows()
    shape = jax.eval_shape(jax.grad(lambda *x: mine(*x).sum()), query, key, value)
    assert (shape.shape, shape.dtype) == (query.shape, query.dtype)
    with jax.disable_jit():
        close(mine(query, key, value), theirs(query, key, value))


def test_what_has_no_derivative() -> None:
    query, key, value = rows()

    def loss(query: Any) -> Any:
        return mine(query, key, value).sum()

    with pytest.raises(NotImplementedError, match=r"^tilewise.jax has first-order gradients alone"):
        jax.grad(lambda x: jax.grad(loss)(x).sum())(query)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(loss, (query,), (query,))
