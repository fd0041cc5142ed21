"""The private functions of flash_attn.flash_attn_interface, which ring attention and others call.

These functions have no gradients. The backward ones write into dq, dk and dv, and use the lse that
the caller gives, which may be merged from several parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise._attend import Gradients
from tilewise._call import Operands
from tilewise._slots import SLOTS
from tilewise.attention import attention_backward
from tilewise.flash_attn._attending import Found, attend_fully, turn_of
from tilewise.flash_attn._layout import Layout, packed
from tilewise.flash_attn._meaning import Wanted, to_ours
from tilewise.flash_attn._probabilities import BLOCK_COLUMNS, round_multiple
from tilewise.flash_attn._refusal import PACKED, RefusedError, asking
from tilewise.torch import _operators
from tilewise.torch._plain import is_compiling, is_plain

_ALL = 7  # query, key and value, a bit for each


def maybe_contiguous(x: Any) -> Any:
    """x, or a copy of it whose last dimension is contiguous; None as it is."""
    return x.contiguous() if x is not None and x.stride(-1) != 1 else x


def _get_block_size_n(device: Any, head_dim: int, is_dropout: bool, is_causal: bool) -> int:
    """How many columns of S_dmask are relative to one maximum: more than any row has."""
    return BLOCK_COLUMNS


def _flash_attn_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    return_softmax: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(output, softmax_lse, S_dmask, rng_state)."""
    window = (window_size_left, window_size_right)
    wanted = Wanted(dropout_p, softmax_scale, causal, window, softcap, alibi_slopes)
    return forward(q, k, v, wanted, None, return_softmax)


def _flash_attn_varlen_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int = -1,
    window_size_right: int = -1,
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    return_softmax: bool = False,
    block_table: Tensor | None = None,
    leftpad_k: Tensor | None = None,
    seqused_k: Tensor | None = None,
    zero_tensors: bool = False,
    num_splits: int = 0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(output, softmax_lse, S_dmask, rng_state) of packed sequences."""
    window = (window_size_left, window_size_right)
    wanted = Wanted(dropout_p, softmax_scale, causal, window, softcap, alibi_slopes)
    longest = (max_seqlen_q, max_seqlen_k)
    lengths = packed(
        cu_seqlens_q, cu_seqlens_k, *longest, block_table, seqused_k=seqused_k, leftpad_k=leftpad_k
    )
    return forward(q, k, v, wanted, lengths, return_softmax)


def forward(
    q: Tensor, k: Tensor, v: Tensor, wanted: Wanted, lengths: Layout | None, return_softmax: bool
) -> Found:
    with torch.no_grad():
        return attend_fully(q, k, v, wanted, lengths, return_softmax)


def _flash_attn_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq: Tensor | None,
    dk: Tensor | None,
    dv: Tensor | None,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    deterministic: bool,
    rng_state: Tensor | None = None,
) -> Tensor:
    """Fills those of dq, dk and dv that are given; returns the row sums of dout * out."""
    window = (window_size_left, window_size_right)
    wanted = Wanted(dropout_p, softmax_scale, causal, window, softcap, alibi_slopes, deterministic)
    read = (dout, q, k, v, out, softmax_lse)
    backward(read, (dq, dk, dv), wanted, None, rng_state)
    return row_sums(dout, out, None)


def _flash_attn_varlen_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq: Tensor | None,
    dk: Tensor | None,
    dv: Tensor | None,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    alibi_slopes: Tensor | None,
    deterministic: bool,
    rng_state: Tensor | None = None,
    zero_tensors: bool = False,
) -> Tensor:
    """Fills dq, dk and dv, if given, of packed sequences; returns the row sums of dout * out."""
    window = (window_size_left, window_size_right)
    wanted = Wanted(dropout_p, softmax_scale, causal, window, softcap, alibi_slopes, deterministic)
    lengths = packed(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    read = (dout, q, k, v, out, softmax_lse)
    backward(read, (dq, dk, dv), wanted, lengths, rng_state)
    return row_sums(dout, out, cu_seqlens_q)


def backward(
    read: tuple[Tensor, ...],
    places: tuple[Tensor | None, ...],
    wanted: Wanted,
    lengths: Layout | None,
    rng_state: Tensor | None,
) -> tuple[Tensor, ...]:
    """The three gradients, in the given places or in new tensors."""
    dout, q, k, v, out, softmax_lse = read
    options = wanted.options()
    if lengths is not None:
        options.update(lengths.options(q, k))
    if wanted.dropout_p:
        if rng_state is None:
            raise RefusedError(
                f"dropout_p is {wanted.dropout_p} without rng_state, so nothing says which weights "
                "forward dropped; pass the rng_state that it returned."
            )
        options["dropout_state"] = rng_state
    with torch.no_grad():
        turn = turn_of(q, k, wanted, lengths)
        lse = to_ours(softmax_lse, turn, lengths is not None)
        return gradients_into((dout, q, k, v, out, lse), places, options)


def gradients_into(
    read: tuple[Tensor, ...],
    places: tuple[Tensor | None, ...],
    options: dict[str, Any],
    lse_gradient: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The three gradients, from tilewise's options and lse."""
    dout, q, k, v, out, lse = read
    if not is_compiling() and is_plain(q, k, v):
        return _eagerly(read, places, {**options, "lse_gradient": lse_gradient})
    arrays = {name: x for name, x in options.items() if name in SLOTS}
    scalars = {name: x for name, x in options.items() if name not in SLOTS}
    flat = _operators.flatten(Operands(q, k, v), arrays, scalars, 0)
    found = _operators.backward_operator(dout, lse_gradient, out, lse, _ALL, *flat)[:3]
    return tuple(x if y is None else y.copy_(x) for x, y in zip(found, places))


def _eagerly(
    read: tuple[Tensor, ...], places: tuple[Tensor | None, ...], options: dict[str, Any]
) -> tuple[Tensor, ...]:
    """Writes straight into the places that the library can write to."""
    direct = [x if x is None or x.shape[-1] < 2 or x.stride(-1) == 1 else None for x in places]
    found = asking(
        attention_backward,
        *read,
        out=None if all(x is None for x in direct) else Gradients(*direct),
        bias_gradient=False,
        slopes_gradient=False,
        sinks_gradient=False,
        names=PACKED,
        **options,
    )
    made = zip(found[:3], places, direct)
    return tuple(x if y is None or z is not None else y.copy_(x) for x, y, z in made)


def row_sums(dout: Tensor, out: Tensor, offsets: Tensor | None) -> Tensor:
    """The row sums of dout * out in float32, padded as flash_attn's softmax_d."""
    with torch.no_grad():
        sums = (dout.float() * out.float()).sum(-1)
        if offsets is None:
            missing = round_multiple(sums.shape[1], 128) - sums.shape[1]
            sums = sums.transpose(1, 2)
        else:
            missing = 128 * (offsets.shape[0] - 1)
            sums = sums.T
        padded: Tensor = torch.nn.functional.pad(sums, (0, missing))
        return padded
