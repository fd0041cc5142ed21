"""Calls under vmap, and the refusal of second-order gradients."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from tilewise.jax._call import GRADIENT, Call, labels
from tilewise.jax._shards import partitioned


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def run(call: Call, *operands: Any) -> tuple[Any, ...]:
    """The results of a call, which may be mapped, sharded and differentiated."""
    mapped = custom_vmap(partitioned(call))
    mapped.def_vmap(functools.partial(_folded, call))
    return tuple(mapped(*operands))


def _refuse(*_: Any) -> Any:
    raise NotImplementedError(
        "tilewise.jax has first-order gradients alone, of reverse mode; for gradients of gradients "
        'give implementation="xla" to dot_product_attention.'
    )


run.defjvp(_refuse)


def _folded(call: Call, size: int, is_batched: Any, *operands: Any) -> tuple[Any, Any]:
    """vmap's rule: the new dimension becomes a part of the batch."""
    given = dict(zip(call.operands, operands))
    is_new = dict(zip(call.operands, is_batched))
    everywhere = (True,) * len(call.results)
    if is_new.get("sinks") or "sinks_gradient" in call.results:
        return _one_by_one(call, is_batched, operands), everywhere
    shapes = {name: x.shape[1:] if is_new[name] else x.shape for name, x in given.items()}
    batch = shapes["query"][0]
    whole = labels(call, shapes)
    made = {}
    for name, x in given.items():
        is_shared = whole[name][0] != "b" or (batch == 1 and name in ("bias", "mask"))
        if is_shared and not is_new[name] and f"{name}{GRADIENT}" not in call.results:
            made[name] = x
            continue
        if not is_new[name]:
            x = jnp.broadcast_to(x, (size, *x.shape))
        if name == "slopes" and len(shapes[name]) == 1:
            x = x[:, None]
        if x.shape[1] != batch:
            x = jnp.broadcast_to(x, (size, batch, *x.shape[2:]))
        made[name] = x.reshape(size * batch, *x.shape[2:])
    results = run(call, *made.values())
    return tuple(
        _unfolded(name, x, (size, batch), shapes) for name, x in zip(call.results, results)
    ), everywhere


def _unfolded(name: str, x: Any, sizes: tuple[int, int], shapes: dict[str, Any]) -> Any:
    """A result with vmap's dimension first; a shared operand's gradient is summed."""
    x = x.reshape(*sizes, *x.shape[1:])
    shape = shapes.get(name.removesuffix(GRADIENT))
    if shape is None or name == "output":
        return x
    if len(shape) == 1 and name.startswith("slopes"):
        return x.sum(1)
    return x.sum(1, keepdims=True) if shape[0] == 1 != sizes[1] else x


def _one_by_one(call: Call, is_batched: Any, operands: Any) -> tuple[Any, ...]:
    """One call for each slice, for operands that the library takes once for the whole batch."""
    mapped = [x for x, is_new in zip(operands, is_batched) if is_new]

    def one(parts: Any) -> tuple[Any, ...]:
        rest = iter(parts)
        return run(call, *(next(rest) if is_new else x for x, is_new in zip(operands, is_batched)))

    return tuple(jax.lax.map(one, mapped))
