"""Between padded batches and packed tokens, by the names of flash_attn.bert_padding."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._autograd import applied
from tilewise.flash_attn._refusal import RefusedError, require_tensors


def index_first_axis(x: Tensor, indices: Tensor) -> Tensor:
    """The rows of x that indices name, in their order."""
    return x.index_select(0, indices.to(torch.int64))


def index_put_first_axis(values: Tensor, indices: Tensor, first_axis_dim: int) -> Tensor:
    """Puts row t of values where indices[t] says, in a tensor of first_axis_dim rows, else 0."""
    require_tensors(values=values, indices=indices)
    rows = values.new_zeros(first_axis_dim, *values.shape[1:])
    return rows.index_copy(0, indices.to(torch.int64), values)


def index_first_axis_residual(x: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """index_first_axis, and x for a residual path; gradients of both are summed."""
    return index_first_axis(x, indices), x.view_as(x)


IndexFirstAxis = applied("IndexFirstAxis", index_first_axis)
IndexPutFirstAxis = applied("IndexPutFirstAxis", index_put_first_axis)
IndexFirstAxisResidual = applied("IndexFirstAxisResidual", index_first_axis_residual)


def unpad_input(
    hidden_states: Tensor, attention_mask: Tensor, unused_mask: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """The rows of hidden_states (batch, length, ...) that attention_mask (batch, length) names.

    Returns (tokens, indices, cu_seqlens, max_seqlen, seqused): tokens are packed, indices says
    which row of the flattened batch each was, sequence b owns rows cu_seqlens[b] to
    cu_seqlens[b + 1], and seqused[b] of them count. Rows of unused_mask are packed, too, but do not
    count.
    """
    _require("attention_mask", attention_mask, hidden_states)
    mask = attention_mask if unused_mask is None else attention_mask + unused_mask
    used = attention_mask.sum(-1, dtype=torch.int32)
    tokens, indices, offsets, longest = _packed(hidden_states, mask, mask)
    return tokens, indices, offsets, longest, used


def unpad_input_for_concatenated_sequences(
    hidden_states: Tensor, attention_mask_in_length: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    """unpad_input, without seqused, where a row of the batch holds several sequences end to end.

    attention_mask_in_length (batch, length) has their lengths in its first places, then 0.
    """
    _require("attention_mask_in_length", attention_mask_in_length, hidden_states)
    filled = attention_mask_in_length.sum(-1, keepdim=True)
    place = torch.arange(attention_mask_in_length.shape[1], device=filled.device)
    flat = attention_mask_in_length.flatten()
    lengths = flat[flat.nonzero().flatten()][:, None]
    return _packed(hidden_states, place < filled, lengths)


def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    """Puts packed tokens back to where unpad_input found them: (batch, seqlen, ...), else 0."""
    rows = index_put_first_axis(hidden_states, indices, batch * seqlen)
    return rows.unflatten(0, (batch, seqlen))


def _packed(
    hidden_states: Tensor, mask: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor, int]:
    lengths = lengths.sum(-1, dtype=torch.int32)
    indices = mask.flatten().nonzero().flatten()
    longest = int(lengths.max()) if lengths.numel() else 0
    offsets = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    return index_first_axis(hidden_states.flatten(0, 1), indices), indices, offsets, longest


def _require(name: str, mask: Tensor, hidden_states: Tensor) -> None:
    require_tensors(**{name: mask}, hidden_states=hidden_states)
    if hidden_states.dim() < 2 or tuple(mask.shape) != tuple(hidden_states.shape[:2]):
        raise RefusedError(
            f"{name} has shape {tuple(mask.shape)} and hidden_states "
            f"{tuple(hidden_states.shape)}; they are (batch, length) and (batch, length, ...)."
        )


def __getattr__(name: str) -> Any:
    """rearrange and repeat of einops, which others import from here."""
    if name in ("rearrange", "repeat"):
        try:
            return getattr(importlib.import_module("einops"), name)
        except ImportError:
            raise AttributeError(f"{name} is of einops, which is not installed.") from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
