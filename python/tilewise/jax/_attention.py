"""Attention for JAX with tilewise's own options."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal, Optional, Union, overload

import jax
import jax.numpy as jnp
import numpy as np

from tilewise.jax._attend import attend
from tilewise.jax._call import Asked
from tilewise.jax._operands import lengths_of, operands_of, scaled

Window = Sequence[Optional[int]]
Diagonal = Union[Literal["bottom_right", "top_left"], int]
_DIAGONALS: dict[str, int | None] = {"bottom_right": None, "top_left": 0}


@overload
def attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    scale: Any = ...,
    causal: bool = ...,
    window: Window | None = ...,
    diagonal: Diagonal = ...,
    softcap: float = ...,
    bias: Any = ...,
    mask: Any = ...,
    alibi_slopes: Any = ...,
    sinks: Any = ...,
    query_lengths: Any = ...,
    key_lengths: Any = ...,
    deterministic: bool = ...,
    return_lse: Literal[False] = ...,
) -> jax.Array: ...


@overload
def attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    scale: Any = ...,
    causal: bool = ...,
    window: Window | None = ...,
    diagonal: Diagonal = ...,
    softcap: float = ...,
    bias: Any = ...,
    mask: Any = ...,
    alibi_slopes: Any = ...,
    sinks: Any = ...,
    query_lengths: Any = ...,
    key_lengths: Any = ...,
    deterministic: bool = ...,
    return_lse: Literal[True],
) -> tuple[jax.Array, jax.Array]: ...


def attention(
    query: Any,
    key: Any,
    value: Any,
    *,
    scale: Any = None,
    causal: bool = False,
    window: Window | None = None,
    diagonal: Diagonal = "bottom_right",
    softcap: float = 0.0,
    bias: Any = None,
    mask: Any = None,
    alibi_slopes: Any = None,
    sinks: Any = None,
    query_lengths: Any = None,
    key_lengths: Any = None,
    deterministic: bool = False,
    return_lse: bool = False,
) -> Any:
    """tilewise.attention for JAX: traced, compiled, mapped and differentiated.

    The options mean what they mean in tilewise.Options, which has more. query, key, value, bias,
    alibi_slopes and sinks have gradients, through the output and through the lse, which is
    (batch, heads, queries). Options that are numbers must be known while JAX traces, except scale:
    a JAX array as scale multiplies query, and float16 operands are taken to float32 for that.

    >>> import jax.numpy as jnp, tilewise.jax
    >>> query = key = jnp.zeros((1, 3, 2, 4))
    >>> value = jnp.arange(24.0).reshape(1, 3, 2, 4)
    >>> sinks = jnp.zeros(2)
    >>> output, lse = tilewise.jax.attention(query, key, value, sinks=sinks, return_lse=True)
    >>> jnp.exp(lse).round(3)[0, 0].tolist()
    [4.0, 4.0, 4.0]
    """
    rank = jnp.ndim(query)
    operands = operands_of(query, key, value, bias, mask)
    batch, queries, heads, _ = operands["query"].shape
    dtype = operands["query"].dtype
    wide = jnp.float64 if dtype == np.float64 else jnp.float32
    for name, x, shapes in (
        ("slopes", alibi_slopes, ((heads,), (batch, heads))),
        ("sinks", sinks, ((heads,),)),
    ):
        if x is not None:
            operands[name] = jnp.asarray(x).astype(wide)
            if operands[name].shape not in shapes:
                argument = "alibi_slopes" if name == "slopes" else name
                wanted = " or ".join(map(str, shapes))
                raise ValueError(f"{argument} has the shape {jnp.shape(x)}; give {wanted}.")
    for name, lengths, size in (
        ("query_lengths", query_lengths, queries),
        ("key_lengths", key_lengths, operands["key"].shape[1]),
    ):
        if lengths is not None:
            operands[name] = lengths_of(name, lengths, batch, size)
    left, right = _sides(window)
    if causal:
        right = 0 if right is None else min(right, 0)
    asked = Asked(
        scaled(operands, scale), float(softcap), left, right, _from(diagonal), bool(deterministic)
    )
    output, lse = attend(asked, operands)
    output = output.astype(dtype)
    if rank == 3:
        output, lse = output[0], lse[0]
    return (output, lse) if return_lse else output


def _sides(window: Window | None) -> tuple[int | None, int | None]:
    if window is None:
        return None, None
    try:
        left, right = (x if x is None else operator.index(x) for x in window)
    except (TypeError, ValueError):
        raise ValueError(
            f"window is {window!r}; give (left, right), each an integer or None for no limit."
        ) from None
    return left, right


def _from(diagonal: Diagonal) -> int | None:
    try:
        return _DIAGONALS[diagonal] if isinstance(diagonal, str) else operator.index(diagonal)
    except (KeyError, TypeError):
        raise ValueError(
            f'diagonal is {diagonal!r}; give "bottom_right", "top_left" or an integer.'
        ) from None
