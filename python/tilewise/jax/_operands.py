"""Checks the arrays of a call and makes them four-dimensional, by name."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FLOATS = ("float16", "bfloat16", "float32", "float64")


def operands_of(query: Any, key: Any, value: Any, bias: Any, mask: Any) -> dict[str, Any]:
    """The arrays that are given (bias and mask may be None), checked, by name."""
    found = dict(zip(("query", "key", "value"), _rows(query, key, value)))
    query, key = found["query"], found["key"]
    sizes = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    if bias is not None:
        bias = _grid("bias", bias, sizes)
        found["bias"] = bias if bias.dtype.name in FLOATS else bias.astype(jnp.float32)
    if mask is not None:
        found["mask"] = _grid("mask", mask, sizes)
        if found["mask"].dtype != jnp.bool_:
            raise ValueError(
                f"mask is {found['mask'].dtype}, but a mask must be bool, True where a key is "
                "visible; give numbers to add to the scores as bias."
            )
    return found


def scaled(operands: dict[str, Any], scale: Any) -> float:
    """The scale as a number to compile in. A JAX array multiplies query instead, with a gradient.

    float16 may not hold that product, so query, key and value of float16 then become float32.
    """
    query = operands["query"]
    if scale is None:
        return float(max(query.shape[3], 1) ** -0.5)
    if jnp.ndim(scale) != 0:
        raise ValueError(f"scale has the shape {jnp.shape(scale)}; give one number.")
    if not isinstance(scale, jax.Array):
        try:
            return float(scale)
        except (TypeError, ValueError):
            raise ValueError(f"scale is {scale!r}; give one number.") from None
    if query.dtype == jnp.float16:
        for name in ("query", "key", "value"):
            operands[name] = operands[name].astype(jnp.float32)
        query = operands["query"]
    operands["query"] = (query * scale).astype(query.dtype)
    return 1.0


def _rows(query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
    """query, key and value as four-dimensional arrays whose shapes fit."""
    given = {"query": query, "key": key, "value": value}
    made = {}
    for name, x in given.items():
        if x is None:
            raise ValueError(f"{name} is None; give an array.")
        x = jnp.asarray(x)
        if x.ndim not in (3, 4):
            raise ValueError(
                f"{name} has {x.ndim} dimensions; give (batch, length, heads, dim) or "
                "(length, heads, dim)."
            )
        if x.dtype.name not in FLOATS:
            raise ValueError(f"{name} is {x.dtype}; give one of {', '.join(FLOATS)}.")
        made[name] = x if x.ndim == 4 else x[None]
    query, key, value = made.values()
    for name in ("key", "value"):
        if made[name].dtype != query.dtype:
            raise ValueError(
                f"{name} is {made[name].dtype} but query is {query.dtype}; give one type for all."
            )
        if made[name].shape[0] != query.shape[0]:
            raise ValueError(
                f"{name} has a batch of {made[name].shape[0]} but query has {query.shape[0]}."
            )
    if value.shape[1:3] != key.shape[1:3]:
        raise ValueError(
            f"value has (length, heads) {value.shape[1:3]} but key has {key.shape[1:3]}; "
            "they must be equal."
        )
    if key.shape[3] != query.shape[3]:
        raise ValueError(f"key has dim {key.shape[3]} but query has {query.shape[3]}.")
    if key.shape[2] == 0 or query.shape[2] % key.shape[2] != 0:
        raise ValueError(
            f"query has {query.shape[2]} heads but key has {key.shape[2]}; query heads must be a "
            "multiple of key heads."
        )
    return query, key, value


def _grid(name: str, x: Any, sizes: tuple[int, ...]) -> Any:
    """A bias or mask with four dimensions, each 1 or whole."""
    x = jnp.asarray(x)
    if x.ndim > 4:
        raise ValueError(f"{name} has {x.ndim} dimensions; it may have four at most.")
    x = x.reshape((1,) * (4 - x.ndim) + x.shape)
    if any(size not in (1, whole) for size, whole in zip(x.shape, sizes)):
        raise ValueError(
            f"{name} has the shape {x.shape}, which does not broadcast to (batch, heads, queries, "
            f"keys) = {sizes}."
        )
    return x


def lengths_of(argument: str, lengths: Any, batch: int, size: int) -> Any:
    """How many rows of each sequence count, at most `size`."""
    # Known numbers stay NumPy's, because JAX's types may not hold large ones.
    is_traced = any(isinstance(x, jax.Array) for x in jax.tree_util.tree_leaves(lengths))
    lengths = jnp.asarray(lengths) if is_traced else np.asarray(lengths)
    if lengths.shape != (batch,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"{argument} is {lengths.dtype} of the shape {lengths.shape}; give an integer for each "
            f"of the {batch} sequences, of the shape ({batch},)."
        )
    if lengths.dtype.itemsize < 4:  # may not hold `size`
        lengths = lengths.astype(np.int32)
    return jnp.asarray(lengths.clip(0, size).astype(np.int32))
