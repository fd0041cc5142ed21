"""Rotary embedding, by the name of flash_attn.ops.triton.rotary."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.cache import rotary
from tilewise.flash_attn._refusal import TURNED, RefusedError, asking, require_tensors


def apply_rotary(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
    interleaved: bool = False,
    inplace: bool = False,
    conjugate: bool = False,
) -> Tensor:
    """Turns the first elements of each head, two for each column of cos and sin.

    x is (batch, length, heads, head dim), or with cu_seqlens (tokens, heads, head dim); cos and sin
    are (positions, columns). Row t of sequence b has position seqlen_offsets + t, or
    seqlen_offsets[b] + t. conjugate turns back. With inplace x is written over, and returned.
    """
    require_tensors(x=x, cos=cos, sin=sin)
    cos, sin = cos.detach(), sin.detach()  # which get no gradient in flash_attn either
    given: dict[str, Any] = {"interleaved": bool(interleaved), "inverse": bool(conjugate)}
    if isinstance(seqlen_offsets, Tensor):
        given["positions"] = seqlen_offsets
    elif seqlen_offsets:
        _require_room(x, cos, seqlen_offsets, cu_seqlens, max_seqlen)
        cos, sin = cos[seqlen_offsets:], sin[seqlen_offsets:]
    if cu_seqlens is not None:
        longest = x.shape[0] if isinstance(max_seqlen, Tensor) else max_seqlen
        given.update(offsets=cu_seqlens, max_length=longest)
    turned: Tensor = asking(rotary, x, cos, sin, names=TURNED, **given)
    if not inplace:
        return turned
    return put(turned, x, cu_seqlens)


def put(turned: Tensor, x: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """Writes over x, but for the rows that no sequence owns."""
    if cu_seqlens is not None:
        place = torch.arange(x.shape[0], device=x.device)
        turned = torch.where((place < cu_seqlens[-1])[:, None, None], turned, x)
    return x.copy_(turned)


def _require_room(x: Tensor, cos: Tensor, offset: int, cu_seqlens: Any, longest: Any) -> None:
    length = x.shape[1] if cu_seqlens is None else longest
    if isinstance(length, int) and (offset < 0 or offset + length > cos.shape[0]):
        raise RefusedError(
            f"seqlen_offsets is {offset} and the longest sequence {length}, but cos has "
            f"{cos.shape[0]} positions; make cos and sin as long as both together."
        )
