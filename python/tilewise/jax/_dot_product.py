"""jax.nn.dot_product_attention, by its arguments."""

from __future__ import annotations

import math
import operator
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp

from tilewise.jax._attend import attend
from tilewise.jax._call import Asked

Window = Any  # an integer, or two of them
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@overload
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = ...,
    mask: Any = ...,
    *,
    scale: Any = ...,
    is_causal: bool = ...,
    query_seq_lengths: Any = ...,
    key_value_seq_lengths: Any = ...,
    local_window_size: Window = ...,
    implementation: str | None = ...,
    return_residual: Literal[False] = ...,
) -> jax.Array: ...


@overload
def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = ...,
    mask: Any = ...,
    *,
    scale: Any = ...,
    is_causal: bool = ...,
    query_seq_lengths: Any = ...,
    key_value_seq_lengths: Any = ...,
    local_window_size: Window = ...,
    implementation: str | None = ...,
    return_residual: Literal[True],
) -> tuple[jax.Array, jax.Array]: ...


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: Any = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    local_window_size: Window = None,
    implementation: str | None = None,
    return_residual: bool = False,
) -> Any:
    """jax.nn.dot_product_attention, never storing the matrix of scores.

    query (batch, queries, heads, dim) or (queries, heads, dim); key and value (batch, keys, key
    heads, dim), where heads is a multiple of key heads and value may have a dim of its own. bias
    and mask have up to four dimensions that broadcast to (batch, heads, queries, keys); mask is
    bool, True is visible. A causal mask and a window begin at the first query and the first key. An
    integer window counts to both sides. The lengths say how many queries and keys of each sequence
    are there; rows beyond are 0.

    query, key, value and bias have gradients. scale may be an array, with a gradient, which then
    multiplies query. implementation is None or "tilewise"; "xla" and "cudnn" ask for JAX's own.
    With return_residual also the lse as (batch, queries, heads), in key's type, without a gradient.

    A query that sees no key gets 0.

    >>> import jax.numpy as jnp, tilewise.jax
    >>> query = key = jnp.zeros((1, 3, 2, 4))
    >>> value = jnp.arange(24.0).reshape(1, 3, 2, 4)
    >>> tilewise.jax.dot_product_attention(query, key, value, is_causal=True)[0, :, 0, 0].tolist()
    [0.0, 4.0, 8.0]
    """
    if implementation not in (None, "tilewise"):
        options = {"return_residual": True} if return_residual else {}
        return jax.nn.dot_product_attention(
            query,
            key,
            value,
            bias,
            mask,
            scale=scale,
            is_causal=is_causal,
            query_seq_lengths=query_seq_lengths,
            key_value_seq_lengths=key_value_seq_lengths,
            local_window_size=local_window_size,
            implementation=implementation,
            **options,
        )
    rank = jnp.ndim(query)
    query, key, value = rows = _rows(query, key, value)
    if scale is not None and not _is_number(scale):
        query = (query * jnp.asarray(scale)).astype(query.dtype)
        scale = 1.0
    operands = {"query": query, "key": key, "value": value}
    sizes = (*query.shape[:1], query.shape[2], query.shape[1], key.shape[1])
    if bias is not None:
        bias = _grid("bias", bias, sizes)
        is_float = jnp.issubdtype(bias.dtype, jnp.floating) and bias.dtype.name in _FLOATS
        operands["bias"] = bias if is_float else bias.astype(jnp.float32)
    if mask is not None:
        operands["mask"] = _grid("mask", mask, sizes)
        if operands["mask"].dtype != jnp.bool_:
            raise ValueError(
                f"mask is {operands['mask'].dtype}, but a mask must be bool, True where a key is "
                "visible; give numbers to add to the scores as bias."
            )
    for name, lengths, size in (
        ("query", query_seq_lengths, query.shape[1]),
        ("key", key_value_seq_lengths, key.shape[1]),
    ):
        if lengths is not None:
            operands[f"{name}_lengths"] = _lengths(name, lengths, query.shape[0], size)
    left, right = _window(local_window_size)
    if is_causal:
        right = 0 if right is None else min(right, 0)
    dim = rows[0].shape[3]
    asked = Asked(
        scale=1 / math.sqrt(max(dim, 1)) if scale is None else float(scale),
        left=left,
        right=right,
        diagonal=0,
    )
    output, lse = attend(asked, operands)
    if rank == 3:
        output, lse = output[0], lse[0]
    if not return_residual:
        return output
    residual = jnp.swapaxes(lse, -1, -2).astype(key.dtype)
    return output, jax.lax.stop_gradient(residual)


def _is_number(scale: Any) -> bool:
    return not isinstance(scale, jax.Array) or (
        scale.ndim == 0 and not isinstance(scale, jax.core.Tracer)
    )


def _rows(query: Any, key: Any, value: Any) -> tuple[Any, Any, Any]:
    """The three as four-dimensional arrays that go together."""
    given = {"query": query, "key": key, "value": value}
    made = {}
    for name, x in given.items():
        x = jnp.asarray(x)
        if x.ndim not in (3, 4):
            raise ValueError(
                f"{name} has {x.ndim} dimensions; give (batch, length, heads, dim) or "
                "(length, heads, dim)."
            )
        if x.dtype.name not in _FLOATS:
            raise ValueError(f"{name} is {x.dtype}; give one of {', '.join(_FLOATS)}.")
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


def _lengths(name: str, lengths: Any, batch: int, size: int) -> Any:
    argument = "query_seq_lengths" if name == "query" else "key_value_seq_lengths"
    lengths = jnp.asarray(lengths)
    if lengths.shape != (batch,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(
            f"{argument} is {lengths.dtype} of the shape {lengths.shape}; give an integer for each "
            f"of the {batch} sequences, of the shape ({batch},)."
        )
    return jnp.clip(lengths, 0, size).astype(jnp.int32)


def _window(window: Window) -> tuple[int | None, int | None]:
    """How many keys to the left and to the right are visible; None is all of them."""
    if window is None:
        return None, None
    try:
        sides = tuple(operator.index(x) for x in window)
    except TypeError:
        try:
            sides = (operator.index(window),) * 2
        except TypeError:
            sides = ()
    if len(sides) != 2 or isinstance(window, bool):
        raise ValueError(
            f"local_window_size is {window!r}; give an integer, or two: (left, right)."
        )
    return sides
