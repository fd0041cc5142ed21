"""The functions of FlashAttention-4's flash_attn.cute.interface, computed by tilewise.

The attention functions always return (output, lse). With return_lse the lse has a gradient; else it
is None, or detached if the call has gradients. learnable_sink has a gradient, too. Windows have
None for no limit. Arguments that divide or tune the work (num_splits, pack_gqa, scheduler_metadata
and the like) change nothing.

>>> import torch
>>> from tilewise.flash_attn.cute import flash_attn_func
>>> q = k = v = torch.randn(2, 10, 4, 16)
>>> output, lse = flash_attn_func(q, k, v, causal=True, return_lse=True)
>>> output.shape, lse.shape
(torch.Size([2, 10, 4, 16]), torch.Size([2, 4, 10]))
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from tilewise.flash_attn._autograd import applied
from tilewise.flash_attn._later import attend_later, combine
from tilewise.flash_attn._layout import Layout
from tilewise.flash_attn._meaning import Wanted
from tilewise.flash_attn._refusal import CUTE
from tilewise.flash_attn.cute._kernels import _flash_attn_bwd, _flash_attn_fwd, operands_of
from tilewise.flash_attn.cute._refusals import refusing

__all__ = [
    "_flash_attn_bwd",
    "_flash_attn_fwd",
    "flash_attn_combine",
    "flash_attn_func",
    "flash_attn_varlen_func",
    "get_scheduler_metadata",
]


@refusing
def flash_attn_func(
    q: Tensor | None,
    k: Tensor | None,
    v: Tensor,
    qv: Tensor | None = None,
    gather_kv_indices: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int | None, int | None] = (None, None),
    learnable_sink: Tensor | None = None,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    score_mod: Any = None,
    score_mod_bwd: Any = None,
    mask_mod: Any = None,
    aux_tensors: Any = None,
    aux_scalars: Any = None,
    block_sparse_tensors: Any = None,
    block_sparse_tensors_bwd: Any = None,
    return_lse: bool = False,
    gather_bwd_recompute_p: bool = False,
    gather_bwd_token_chunk: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Attention of q (batch, queries, heads, head dim) over k and v: (output, lse or None)."""
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=window_size,
        softcap=softcap,
        deterministic=deterministic,
        sinks=learnable_sink,
        has_signed_window=True,
    ).options()
    operands, qv = operands_of(q, k, v, qv)
    out, lse = attend_later(operands, options, Layout(), qv, names=CUTE)
    return out, _wanted(lse, return_lse)


@refusing
def flash_attn_varlen_func(
    q: Tensor | None,
    k: Tensor | None,
    v: Tensor,
    qv: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    min_seqlen_k: int | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    gather_kv_indices: Tensor | None = None,
    page_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int | None, int | None] = (None, None),
    learnable_sink: Tensor | None = None,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    score_mod: Any = None,
    score_mod_bwd: Any = None,
    mask_mod: Any = None,
    block_sparse_tensors: Any = None,
    aux_tensors: Any = None,
    aux_scalars: Any = None,
    return_lse: bool = False,
    scheduler_metadata: Any = None,
    seqlen_k_per_split: int | None = None,
    disable_scheduler_metadata: bool = False,
    gather_bwd_recompute_p: bool = False,
    gather_bwd_token_chunk: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """flash_attn_func where queries or keys may be packed, (tokens, heads, head dim), and keys may
    lie in pages.

    max_seqlen_q and max_seqlen_k may be tensors of one number.
    """
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=window_size,
        softcap=softcap,
        deterministic=deterministic,
        sinks=learnable_sink,
        has_signed_window=True,
    ).options()
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, seqused_q, seqused_k)
    operands, qv = operands_of(q, k, v, qv)
    layout = Layout(*lengths, page_table)
    out, lse = attend_later(operands, options, layout, qv, names=CUTE)
    return out, _wanted(lse, return_lse)


def _apply_varlen(
    q: Tensor | None,
    k: Tensor | None,
    v: Tensor,
    qv: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    min_seqlen_k: int | None = None,
    *options: Any,
) -> Any:
    """In FlashAttnVarlenFunc the used lengths come before the longest ones."""
    longest, used = (max_seqlen_q, max_seqlen_k, min_seqlen_k), (seqused_q, seqused_k)
    tensors = (q, k, v, qv, cu_seqlens_q, cu_seqlens_k)
    return flash_attn_varlen_func(*tensors, *longest, *used, *options)


FlashAttnFunc = applied("FlashAttnFunc", flash_attn_func)
FlashAttnVarlenFunc = applied("FlashAttnVarlenFunc", _apply_varlen)


def _wanted(lse: Tensor, is_asked: bool) -> Tensor | None:
    """The lse to return. One not asked for is for the backward pass, without a gradient."""
    if is_asked:
        return lse
    return lse.detach() if lse.requires_grad else None


def flash_attn_combine(
    out_partial: Tensor,
    lse_partial: Tensor,
    out: Tensor | None = None,
    out_dtype: Any = None,
    cu_seqlens: Tensor | None = None,
    seqused: Tensor | None = None,
    virtual_batch_idx: Tensor | None = None,
    return_lse: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Attention over all keys from parts: out_partial (parts, ..., heads, head dim) and lse_partial
    (parts, ..., heads), padded or packed. All rows are merged: cu_seqlens, seqused and
    virtual_batch_idx, which say which rows count, change nothing."""
    dtype = out.dtype if out is not None else out_dtype
    found, lse = combine(out_partial, lse_partial, dtype)
    return (found if out is None else out.copy_(found)), (lse if return_lse else None)


class SchedulerMetadataTensorsTorch(NamedTuple):
    """What get_scheduler_metadata returns. Tilewise shares out its work by itself: all are None."""

    num_splits_dynamic_ptr: Tensor | None = None
    num_nheads_in_l2_ptr: Tensor | None = None
    tile_count_semaphore: Tensor | None = None
    cu_total_m_blocks: Tensor | None = None
    cu_total_splits_m_blocks: Tensor | None = None


def get_scheduler_metadata(
    max_seqlen_q: int,
    max_seqlen_k: int,
    nheads: int,
    nheads_kv: int,
    headdim: int,
    num_splits: int,
    headdim_v: int | None = None,
    pack_gqa: int | None = None,
    causal: bool = False,
    window_size_left: int | None = None,
    window_size_right: int | None = None,
    seqlen_k_new: int = 0,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    cu_seqlens_k_new: Tensor | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    leftpad_k: Tensor | None = None,
    seqlen_k_per_split: int | None = None,
    _arch: int | None = None,
) -> SchedulerMetadataTensorsTorch:
    """What to pass back as scheduler_metadata, which changes nothing."""
    return SchedulerMetadataTensorsTorch()
