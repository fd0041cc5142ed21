"""Tensors for the tests of the flash_attn face, and the formula that it is held against."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from torch_cases import close, rows, torch

flash: Any = importlib.import_module("tilewise.flash_attn")
INFINITY = float("inf")


def made(*shape: int, seed: int = 0, dtype: Any = None, grad: bool = True) -> Any:
    return rows(*shape, seed=seed, dtype=dtype, needs_grad=grad)


def dense(
    batch: int = 2,
    queries: int = 9,
    keys: int = 13,
    heads: int = 4,
    key_heads: int = 2,
    dim: int = 16,
    dtype: Any = None,
    grad: bool = True,
) -> Any:
    """q, k and v of flash_attn_func."""
    return (
        made(batch, queries, heads, dim, seed=1, dtype=dtype, grad=grad),
        made(batch, keys, key_heads, dim, seed=2, dtype=dtype, grad=grad),
        made(batch, keys, key_heads, dim, seed=3, dtype=dtype, grad=grad),
    )


def visible(queries: int, keys: int, causal: bool, window: Any, chunk: int = 0) -> Any:
    """Who sees whom, aligned to the last of both; -1 and None are no limit."""
    row = torch.arange(queries)[:, None] + keys - queries
    column = torch.arange(keys)
    left, right = window
    right = 0 if causal else right
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if left is not None and left >= 0:
        seen &= column >= row - left
    if right is not None and right >= 0:
        seen &= column <= row + right
    if chunk:
        seen &= torch.div(column, chunk, rounding_mode="floor") == torch.div(
            row, chunk, rounding_mode="floor"
        )
    return seen


def formula(
    q: Any,
    k: Any,
    v: Any,
    *,
    scale: Any = None,
    causal: bool = False,
    window: Any = (-1, -1),
    softcap: float = 0.0,
    slopes: Any = None,
    sinks: Any = None,
    chunk: int = 0,
    factor: Any = None,
    seen: Any = None,
    longest: int = 0,
) -> Any:
    """(output, lse) in float64: attention as flash_attn means it, lse +inf where nothing is seen.

    factor: what dropout multiplies the probabilities with. longest: the most keys of all sequences.
    A left window that reaches so far counts as none; then causal ALiBi adds slope * key's index in
    place of -slope * distance, as flash_attn does, which shifts the lse.
    """
    group = q.shape[2] // k.shape[2]
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    queries, keys = q.shape[2], k.shape[2]
    score = (q.shape[-1] ** -0.5 if scale is None else scale) * (q @ k.transpose(-1, -2))
    if softcap:
        score = softcap * torch.tanh(score / softcap)
    if slopes is not None:
        row, column = torch.arange(queries)[:, None] + keys - queries, torch.arange(keys)
        is_causal = (0 if causal else window[1]) == 0 and not 0 <= window[0] < max(keys, longest)
        shape = column.double().expand(queries, keys) if is_causal else -(row - column).abs()
        each = slopes.double() if slopes.dim() == 2 else slopes.double()[None]
        score = score + each[:, :, None, None] * shape
    if seen is None:
        seen = visible(queries, keys, causal, window, chunk)
    score = score.masked_fill(~seen, -INFINITY)
    if sinks is not None:
        column = sinks.double()[None, :, None, None].expand(*score.shape[:3], 1)
        score = torch.cat((score, column), -1)
    lse = score.logsumexp(-1)
    weight = (score - torch.where(lse == -INFINITY, 0.0, lse)[..., None]).exp()[..., :keys]
    if factor is not None:
        weight = weight * factor
    return (weight @ v).transpose(1, 2), torch.where(lse == -INFINITY, INFINITY, lse)


def gradients(output: Any, inputs: Any) -> Any:
    """The gradients of a loss in which every element of the output counts differently."""
    loss = (output.double().sin() * (1 + output.double())).sum()
    return torch.autograd.grad(loss, inputs, retain_graph=True)


def all_close(found: Any, wanted: Any, inputs: Any, tolerance: float = 1e-5) -> None:
    """Compares outputs, and the gradients of `inputs` by both."""
    close(found, wanted.to(found.dtype), tolerance)
    for one, other, x in zip(gradients(found, inputs), gradients(wanted, inputs), inputs):
        assert one.shape == x.shape
        close(one, other, 4 * tolerance)


def packed(lengths: Any, heads: int, dim: int, seed: int, grad: bool = True) -> Any:
    """(tokens, heads, dim) and its offsets."""
    offsets = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return made(sum(lengths), heads, dim, seed=seed, grad=grad), offsets


def each(tensor: Any, offsets: Any) -> Any:
    """The sequences of a packed tensor, each a batch of one."""
    ends = offsets.tolist()
    return [tensor[a:b][None] for a, b in zip(ends, ends[1:])]


def parameters(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults of what may be given by position."""
    return [
        (name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
