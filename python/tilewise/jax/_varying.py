"""The axes of the mesh over which arrays differ inside of shard_map, as their types say."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec


def varying_kind(array: Any) -> dict[str, Any]:
    """The arguments of ShapeDtypeStruct for a result that differs over the array's axes."""
    kind = type_of(array)
    for name in ("manual_axis_type", "vma"):
        value = getattr(kind, name, None)
        if value is not None:
            place = NamedSharding(kind.sharding.mesh, PartitionSpec())
            return {name: value, "sharding": place} if varying_axes(array) else {}
    return {}


def varying_axes(array: Any) -> frozenset[str]:
    """The axes over which the array differs inside of shard_map."""
    kind = type_of(array)
    manual = getattr(kind, "manual_axis_type", None)
    axes: frozenset[str] = getattr(kind, "vma", frozenset()) if manual is None else manual.varying
    return frozenset(axes)


def type_of(array: Any) -> Any:
    """The array's type, as JAX knows it while tracing."""
    return jax.typeof(array) if hasattr(jax, "typeof") else jax.core.get_aval(array)


def vary(array: Any, axes: frozenset[str]) -> Any:
    """The array, marked as one that differs over these axes."""
    missing = tuple(sorted(axes - varying_axes(array)))
    if not missing:
        return array
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(array, missing, to="varying")
    return jax.lax.pvary(array, missing)
