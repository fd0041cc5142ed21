"""Attention with gradients on checked operands, which every function here calls."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, zero_from_primal

from tilewise.jax._call import GRADIENT, Asked, Call, labels
from tilewise.jax._mapped import run
from tilewise.jax._shards import axes_of, spec_of
from tilewise.jax._varying import type_of, vary, varying_axes
from tilewise.planning import workspace_bytes

Operands = dict[str, Any]  # by name, as request.cpp has them
_FORWARD = ("output", "lse")
_DIFFERENTIABLE = ("query", "key", "value", "bias", "slopes", "sinks")


@functools.partial(jax.jit, static_argnums=0)
def attend(asked: Asked, operands: Operands) -> tuple[Any, Any]:
    """Output (batch, queries, heads, value dim) and lse (batch, heads, queries)."""
    _check(asked, operands)
    sharding = getattr(type_of(operands["query"]), "sharding", None)
    explicit = _explicit_axes(getattr(sharding, "mesh", None))
    if not explicit:
        return _attend_here(asked, operands)
    return _attend_sharded(asked, operands, sharding, explicit)


def _check(asked: Asked, operands: Operands) -> None:
    """Refuses, while JAX traces, what the library would refuse when the call runs."""
    query, key, value = (operands[name] for name in ("query", "key", "value"))
    if not all(isinstance(size, int) for size in (*query.shape, *key.shape)):
        raise NotImplementedError(
            f"query has the shape {query.shape} and key {key.shape}; tilewise must know the "
            "numbers while JAX traces. Export it once for each shape, or give "
            'implementation="xla" to dot_product_attention.'
        )
    workspace_bytes(
        query.shape,
        key.shape,
        value.shape,
        dtype=query.dtype.name,
        **asked.options(),
    )


def _explicit_axes(mesh: Any) -> frozenset[str]:
    """The axes of a mesh that arrays' types name explicitly."""
    kinds = getattr(mesh, "axis_types", None) or ()
    names = getattr(mesh, "axis_names", ())
    return frozenset(name for name, kind in zip(names, kinds) if str(kind).endswith("Explicit"))


def _attend_sharded(asked: Asked, operands: Operands, sharding: Any, axes: Any) -> tuple[Any, Any]:
    """Attention on a mesh with explicit axes: each device computes its batch and heads."""
    if not hasattr(jax.sharding, "reshard"):
        raise NotImplementedError(
            "Arrays of a mesh with explicit axes need jax 0.7 or newer; update jax, or make the "
            "mesh with axis_types=(AxisType.Auto, ...)."
        )
    call = Call("forward", asked, tuple(operands), _FORWARD)
    shapes = {name: tuple(x.shape) for name, x in operands.items()}
    letters = labels(call, shapes)
    key = type_of(operands["key"]).sharding.spec
    shared = axes_of(shapes, (sharding.spec, key), dict(sharding.mesh.shape))
    specs = {name: spec_of(letters[name], shared) for name in (*operands, *_FORWARD)}
    mesh = sharding.mesh
    moved = {
        name: jax.sharding.reshard(x, jax.sharding.NamedSharding(mesh, specs[name]))
        for name, x in operands.items()
    }
    return jax.shard_map(
        functools.partial(_attend_here, asked),
        mesh=mesh,
        in_specs=({name: specs[name] for name in operands},),
        out_specs=tuple(specs[name] for name in _FORWARD),
        axis_names=axes,
    )(moved)


def _attend_here(asked: Asked, operands: Operands) -> tuple[Any, Any]:
    axes = frozenset[str]().union(*map(varying_axes, operands.values()))
    return _differentiable(asked, {name: vary(x, axes) for name, x in operands.items()})


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(asked: Asked, operands: Operands) -> tuple[Any, Any]:
    output, lse = run(Call("forward", asked, tuple(operands), _FORWARD), *operands.values())
    if "query_lengths" not in operands:
        return output, lse
    counts = _counts(operands["query_lengths"], output.shape[1])
    # The library does not write rows that do not count.
    output = jnp.where(counts[:, :, None, None], output, 0)
    return output, jnp.where(counts[:, None, :], lse, -jnp.inf)


def _counts(lengths: Any, size: int) -> Any:
    """(batch, size): True for rows within each sequence's length."""
    return jnp.arange(size) < lengths[:, None]


def _forward(asked: Asked, operands: Any) -> Any:
    given = {name: x.value for name, x in operands.items()}
    # The names of operands that need a gradient, as keys of a dict: JAX would trace values.
    wanted = {name: () for name in _DIFFERENTIABLE if name in given and operands[name].perturbed}
    output, lse = _differentiable(asked, given)
    return (output, lse), (given, output, lse, wanted)


def _backward(asked: Asked, kept: Any, arriving: Any) -> Any:
    given, output, lse, wanted = kept
    gradient, lse_gradient = arriving
    found = {name: zero_from_primal(x, symbolic_zeros=True) for name, x in given.items()}
    results = tuple(f"{name}{GRADIENT}" for name in wanted)
    if (_is_zero(gradient) and _is_zero(lse_gradient)) or not results:
        return (found,)
    if _is_zero(gradient):
        gradient = jnp.zeros_like(output)
    operands = {**given, "output": output, "lse": lse, f"output{GRADIENT}": gradient}
    if not _is_zero(lse_gradient):
        operands[f"lse{GRADIENT}"] = lse_gradient
    axes = frozenset[str]().union(*map(varying_axes, operands.values()))
    operands = {name: vary(x, axes) for name, x in operands.items()}
    call = Call("backward", asked, tuple(operands), results)
    for name, x in zip(wanted, run(call, *operands.values())):
        lengths = given.get("query_lengths" if name == "query" else "key_lengths")
        if lengths is not None and name in ("query", "key", "value"):
            x = jnp.where(_counts(lengths, x.shape[1])[:, :, None, None], x, 0)
        found[name] = x
    return (found,)


def _is_zero(x: Any) -> bool:
    return isinstance(x, SymbolicZero)


_differentiable.defvjp(_forward, _backward, symbolic_zeros=True)
