"""What the interfaces of FlashAttention-3 and 4 have in common beyond version 2.

Queries or keys may be packed, and only a part of each sequence may count; keys may lie in pages or
in chosen rows of a cache. A second query, qv, may add its products with the values to the scores.
FP8 tensors may have factors (q_descale, k_descale, v_descale).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise.attention import attention
from tilewise.flash_attn._layout import Layout
from tilewise.flash_attn._meaning import require_floats
from tilewise.flash_attn._refusal import LATER, Names, RefusedError, asking, require_tensors

_FP8 = tuple(
    getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2") if hasattr(torch, name)
)


class Factors(NamedTuple):
    """What FP8 tensors are multiplied with, (batch, key heads) each."""

    q_descale: Tensor | None = None
    k_descale: Tensor | None = None
    v_descale: Tensor | None = None

    def options(self, q: Tensor) -> dict[str, Any]:
        names = ("query_factor", "key_factor", "value_factor")
        given = {name: x for name, x in zip(names, self) if x is not None}
        if given and q.dtype not in _FP8:
            raise RefusedError(
                f"q_descale, k_descale and v_descale are for FP8, and q has dtype {q.dtype}."
            )
        return given


def with_values(
    q: Tensor, k: Tensor, v: Tensor, qv: Tensor | None, factors: Factors
) -> tuple[Tensor, Tensor]:
    """Query and key of q.k + qv.v: (q, qv) and (k, v), each pair copied into one tensor."""
    if qv is None:
        return q, k
    if any(x is not None for x in factors):
        raise NotImplementedError(
            "qv is given with descales; tilewise has one factor for a whole key, not one for each "
            "part. Convert to bfloat16 before."
        )
    if tuple(qv.shape) != (*q.shape[:-1], v.shape[-1]):
        raise RefusedError(
            f"qv has shape {tuple(qv.shape)}; beside q and v it must be "
            f"{(*q.shape[:-1], v.shape[-1])}."
        )
    return torch.cat((q, qv), -1), torch.cat((k, v), -1)


def attend_later(
    operands: tuple[Tensor, Tensor, Tensor],
    options: dict[str, Any],
    layout: Layout,
    qv: Tensor | None = None,
    factors: Factors | None = None,
    names: Names = LATER,
) -> tuple[Tensor, Tensor]:
    """(output, lse), both with gradients; the lse of a query that sees nothing is -inf."""
    q, k, v = operands
    require_floats("q", q)
    require_tensors(k=k, v=v)
    factors = factors or Factors()
    query, key = with_values(q, k, v, qv, factors)
    more = {**layout.options(q, k), **factors.options(q)}
    more.update(options)
    output, lse = asking(attention, query, key, v, return_lse=True, names=names, **more)
    return output, lse


def combine(out_partial: Tensor, lse_partial: Tensor, dtype: Any) -> tuple[Tensor, Tensor]:
    """Attention over all keys from (parts, ..., heads, dim) and (parts, ..., heads)."""
    require_tensors(out_partial=out_partial, lse_partial=lse_partial)
    if out_partial.dim() < 2 or tuple(lse_partial.shape) != tuple(out_partial.shape[:-1]):
        raise RefusedError(
            f"lse_partial has shape {tuple(lse_partial.shape)}; for this out_partial it must be "
            f"{tuple(out_partial.shape[:-1])}."
        )
    # A row that saw no key in any part has lse -inf in all parts, and gets 0. If a row saw no key
    # in one part, that part's output for the row is ignored.
    highest = lse_partial.amax(0).clamp(min=torch.finfo(lse_partial.dtype).min)
    weight = (lse_partial - highest).exp()
    total = weight.sum(0)
    seen = torch.where(weight[..., None] == 0, 0, out_partial)
    mean = (weight[..., None] * seen).sum(0) / total.clamp(min=1e-38)[..., None]
    return mean.to(dtype or out_partial.dtype), total.log() + highest
