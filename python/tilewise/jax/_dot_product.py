"""jax.nn.dot_product_attention, by its arguments."""

from __future__ import annotations

import operator
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp

from tilewise.jax._attend import attend
from tilewise.jax._call import Asked
from tilewise.jax._operands import lengths_of, operands_of, scaled

Window = Any  # an integer, or two of them
_jaxs_own = jax.nn.dot_product_attention  # also after somebody has put ours in its place


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
    bool, True is visible. The diagonal of is_causal and of a window begins at the first query and
    the first key. An integer window counts to both sides. query_seq_lengths and
    key_value_seq_lengths say how many queries and keys of each sequence count; the output of the
    other queries is 0.

    query, key, value and bias have gradients. scale may be a JAX array, with a gradient, which
    then multiplies query; float16 is taken to float32 for that. implementation is None or
    "tilewise"; "xla" and "cudnn" ask for JAX's own. With return_residual the lse comes back, too,
    as (batch, queries, heads), in key's type, without a gradient.

    A query that sees no key gets 0.

    >>> import jax.numpy as jnp, tilewise.jax
    >>> query = key = jnp.zeros((1, 3, 2, 4))
    >>> value = jnp.arange(24.0).reshape(1, 3, 2, 4)
    >>> tilewise.jax.dot_product_attention(query, key, value, is_causal=True)[0, :, 0, 0].tolist()
    [0.0, 4.0, 8.0]
    """
    if implementation not in (None, "tilewise"):
        options = {"return_residual": True} if return_residual else {}
        return _jaxs_own(
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
    operands = operands_of(query, key, value, bias, mask)
    dtype = operands["query"].dtype
    batch, queries = operands["query"].shape[:2]
    for name, argument, lengths, size in (
        ("query", "query_seq_lengths", query_seq_lengths, queries),
        ("key", "key_value_seq_lengths", key_value_seq_lengths, operands["key"].shape[1]),
    ):
        if lengths is not None:
            operands[f"{name}_lengths"] = lengths_of(argument, lengths, batch, size)
    left, right = _window(local_window_size)
    if is_causal:
        right = 0 if right is None else min(right, 0)
    if left is not None and right is not None and left + right < 0:
        operands["mask"] = jnp.zeros((1, 1, 1, 1), jnp.bool_)  # a window without a key
        left = right = None
    asked = Asked(scaled(operands, scale), left=left, right=right, shift=0)
    output, lse = attend(asked, operands)
    output = output.astype(dtype)
    if rank == 3:
        output, lse = output[0], lse[0]
    if not return_residual:
        return output
    residual = jnp.swapaxes(lse, -1, -2).astype(output.dtype)
    return output, jax.lax.stop_gradient(residual)


_FAR = 2**40  # farther than any key


def _window(window: Window) -> tuple[int | None, int | None]:
    """How many keys are visible to the left and right of the diagonal; None for all."""
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
    left, right = (None if side >= _FAR else side for side in sides)
    return left, right
