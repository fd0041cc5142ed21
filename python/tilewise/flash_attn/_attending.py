"""Attention with flash_attn's arguments: what all of its functions come down to."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise.attention import attention
from tilewise.flash_attn._layout import Layout
from tilewise.flash_attn._meaning import (
    Turn,
    Wanted,
    bound_of,
    dense_diagonals,
    has_turn,
    packed_diagonals,
    require_floats,
    to_theirs,
)
from tilewise.flash_attn._probabilities import dropped_probabilities
from tilewise.flash_attn._refusal import PACKED, USED, asking, require_tensors
from tilewise.torch._attention import draw_state


class Found(NamedTuple):
    """The results of flash_attn's kernels."""

    out: Tensor
    softmax_lse: Tensor
    s_dmask: Tensor
    rng_state: Tensor


def turn_of(q: Tensor, k: Tensor, wanted: Wanted, lengths: Layout | None = None) -> Turn | None:
    """The Turn between tilewise's lse and flash_attn's; None without causal ALiBi."""
    keys = k.shape[1] if lengths is None else bound_of(lengths.max_seqlen_k, None)
    if not has_turn(wanted.alibi_slopes, wanted.window_size, wanted.causal, keys):
        return None
    if lengths is None:
        return Turn(wanted.alibi_slopes, dense_diagonals(q.shape[1], k.shape[1], q.device))
    offsets = lengths.cu_seqlens_q
    assert offsets is not None
    diagonals = packed_diagonals(q.shape[0], offsets, lengths.visible_lengths(k))
    slopes = wanted.alibi_slopes
    if slopes.dim() == 2:  # one for each token then
        place = torch.arange(q.shape[0], device=offsets.device, dtype=offsets.dtype)
        sequence = (torch.searchsorted(offsets, place, right=True) - 1).clamp(
            max=slopes.shape[0] - 1
        )
        diagonals = slopes.detach()[sequence].T * diagonals
        slopes = torch.ones(slopes.shape[1], device=q.device)
    return Turn(slopes, diagonals)


def attend(
    q: Tensor, k: Tensor, v: Tensor, wanted: Wanted, lengths: Layout | None = None
) -> Tensor:
    """The output."""
    require_floats("q", q)
    require_tensors(k=k, v=v)
    options = wanted.options()
    if lengths is not None:
        options.update(lengths.options(q, k))
    output: Tensor = asking(attention, q, k, v, names=PACKED, **options)
    return output


def attend_fully(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    wanted: Wanted,
    lengths: Layout | None = None,
    return_softmax: bool = True,
) -> Found:
    """Output, lse, and with return_softmax and dropout the probabilities."""
    require_floats("q", q)
    require_tensors(k=k, v=v)
    options = wanted.options()
    if lengths is not None:
        options.update(lengths.options(q, k))
    names = PACKED if lengths is None or lengths.seqused_k is None else USED
    if wanted.dropout_p:
        state = options["dropout_state"] = draw_state(q.device)
    else:
        state = torch.zeros(2, dtype=torch.int64, device=q.device)
    output, lse = asking(attention, q, k, v, return_lse=True, names=names, **options)
    if return_softmax and wanted.dropout_p:
        s_dmask = dropped_probabilities(q, k, options, lengths)
    else:
        s_dmask = q.new_empty(0)
    turn = turn_of(q, k, wanted, lengths)
    return Found(output, to_theirs(lse, turn, lengths is not None), s_dmask, state)


def returned(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    wanted: Wanted,
    return_attn_probs: bool,
    lengths: Layout | None = None,
) -> Any:
    """The output, or with return_attn_probs (output, softmax_lse, S_dmask)."""
    if not return_attn_probs:
        return attend(q, k, v, wanted, lengths)
    found = attend_fully(q, k, v, wanted, lengths)
    return found.out, found.softmax_lse, found.s_dmask
