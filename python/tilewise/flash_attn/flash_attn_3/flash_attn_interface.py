"""The functions of FlashAttention-3's flash_attn_interface, computed by tilewise.

With return_attn_probs two values come back, where version 2 returns three, and the lse of a query
that sees nothing is -inf. Beyond FlashAttention-3 tilewise takes float32, tensors on the processor,
gradients with qv, and `s_aux`, attention sinks of (heads). scheduler_metadata, num_splits, pack_gqa
and sm_margin change nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._autograd import applied
from tilewise.flash_attn._cached import lengths_of, require_new
from tilewise.flash_attn._kernels import maybe_contiguous as maybe_contiguous
from tilewise.flash_attn._later import Factors, attend_later, combine
from tilewise.flash_attn._layout import Layout, heads_of
from tilewise.flash_attn._meaning import Wanted, require_floats, sides_of
from tilewise.flash_attn._refusal import OF_A_CACHE, asking, require_tensors
from tilewise.flash_attn.flash_attn_3._kernels import _flash_attn_backward, _flash_attn_forward

__all__ = [
    "_flash_attn_backward",
    "_flash_attn_forward",
    "flash_attn_combine",
    "flash_attn_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_with_kvcache",
    "get_scheduler_metadata",
]


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    qv: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    window_size: tuple[int, int] = (-1, -1),
    attention_chunk: int = 0,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    sm_margin: int = 0,
    return_attn_probs: bool = False,
    *,
    s_aux: Tensor | None = None,
) -> Any:
    """Attention of q (batch, queries, heads, head dim) over k and v (batch, keys, key heads, ...).

    Returns the output, or with return_attn_probs (output, softmax_lse). Scores are q.k, with qv
    (batch, queries, heads, value dim) q.k + qv.v.

    >>> import torch
    >>> from tilewise.flash_attn.flash_attn_3.flash_attn_interface import flash_attn_func
    >>> q = k = v = torch.randn(2, 10, 4, 16)
    >>> flash_attn_func(q, k, v, causal=True, attention_chunk=4).shape
    torch.Size([2, 10, 4, 16])
    """
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=window_size,
        softcap=softcap,
        deterministic=deterministic,
        sinks=s_aux,
        chunk=attention_chunk,
    ).options()
    factors = Factors(q_descale, k_descale, v_descale)
    out, lse = attend_later((q, k, v), options, Layout(), qv, factors)
    return (out, lse.detach()) if return_attn_probs else out


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    window_size: tuple[int, int] = (-1, -1),
    attention_chunk: int = 0,
    softcap: float = 0.0,
    deterministic: bool = False,
    num_heads_q: int | None = None,
    sm_margin: int = 0,
    return_attn_probs: bool = False,
) -> Any:
    """flash_attn_func of qkv (batch, length, 3, heads, head dim).

    Or with num_heads_q of (batch, length, heads + 2 * key heads, head dim).
    """
    heads = heads_of(qkv, num_heads_q)
    q, k, v = qkv.unbind(2) if heads is None else qkv.split((*heads, heads[1]), 2)
    return flash_attn_func(
        q,
        k,
        v,
        softmax_scale=softmax_scale,
        causal=causal,
        q_descale=q_descale,
        k_descale=k_descale,
        v_descale=v_descale,
        window_size=window_size,
        attention_chunk=attention_chunk,
        softcap=softcap,
        deterministic=deterministic,
        return_attn_probs=return_attn_probs,
    )


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    qv: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    window_size: tuple[int, int] = (-1, -1),
    attention_chunk: int = 0,
    softcap: float = 0.0,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    deterministic: bool = False,
    sm_margin: int = 0,
    return_attn_probs: bool = False,
    *,
    s_aux: Tensor | None = None,
) -> Any:
    """flash_attn_func of packed sequences: sequence b has rows cu_seqlens[b] to cu_seqlens[b + 1],
    of which the first seqused[b] count."""
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=window_size,
        softcap=softcap,
        deterministic=deterministic,
        sinks=s_aux,
        chunk=attention_chunk,
    ).options()
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, seqused_q, seqused_k)
    factors = Factors(q_descale, k_descale, v_descale)
    out, lse = attend_later((q, k, v), options, Layout(*lengths), qv, factors)
    return (out, lse.detach()) if return_attn_probs else out


def _apply_varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    seqused_q: Tensor | None,
    seqused_k: Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *options: Any,
) -> Any:
    """In FlashAttnVarlenFunc the used lengths come before the longest ones."""
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, seqused_q, seqused_k)
    return flash_attn_varlen_func(q, k, v, *lengths, *options)


FlashAttnFunc = applied("FlashAttnFunc", flash_attn_func)
FlashAttnQKVPackedFunc = applied("FlashAttnQKVPackedFunc", flash_attn_qkvpacked_func)
FlashAttnVarlenFunc = applied("FlashAttnVarlenFunc", _apply_varlen)


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    qv: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    page_table: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k_new: Tensor | None = None,
    max_seqlen_q: int | None = None,
    rotary_seqlens: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    attention_chunk: int = 0,
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    scheduler_metadata: Tensor | None = None,
    num_splits: int = 0,
    pack_gqa: bool | None = None,
    sm_margin: int = 0,
    return_softmax_lse: bool = False,
    *,
    s_aux: Tensor | None = None,
) -> Any:
    """Attention over a cache, to which k and v are appended in place, as by the
    flash_attn_with_kvcache of version 2.

    Queries may be packed by cu_seqlens_q, new keys by cu_seqlens_k_new. With rotary_seqlens (batch)
    the positions of sequence b count from rotary_seqlens[b] and not from cache_seqlens[b].
    """
    require_floats("q", q)
    require_new(k, v)
    batch = q.shape[0] if cu_seqlens_q is None else cu_seqlens_q.shape[0] - 1
    require_tensors(k_cache=k_cache, v_cache=v_cache)
    if cache_seqlens is not None:
        cache_seqlens = lengths_of(cache_seqlens, batch, k_cache.device)
    if page_table is None and cache_batch_idx is None and k_cache.shape[0] > batch:
        k_cache, v_cache = k_cache[:batch], v_cache[:batch]
    left, right = (-1 if side is None else side for side in sides_of(window_size))
    found = asking(
        _flash_attn_forward,
        q,
        k_cache,
        v_cache,
        names=OF_A_CACHE,
        k_new=k,
        v_new=v,
        qv=qv,
        cu_seqlens_q=cu_seqlens_q,
        cu_seqlens_k_new=cu_seqlens_k_new,
        seqused_k=cache_seqlens,
        max_seqlen_q=max_seqlen_q,
        page_table=page_table,
        kv_batch_idx=cache_batch_idx,
        leftpad_k=cache_leftpad,
        rotary_cos=rotary_cos,
        rotary_sin=rotary_sin,
        seqlens_rotary=rotary_seqlens,
        q_descale=q_descale,
        k_descale=k_descale,
        v_descale=v_descale,
        softmax_scale=softmax_scale,
        causal=causal,
        window_size_left=left,
        window_size_right=right,
        attention_chunk=attention_chunk,
        softcap=softcap,
        rotary_interleaved=rotary_interleaved,
        s_aux=s_aux,
    )
    return found if return_softmax_lse else found[0]


def flash_attn_combine(
    out_partial: Tensor, lse_partial: Tensor, out: Tensor | None = None, out_dtype: Any = None
) -> tuple[Tensor, Tensor]:
    """Attention over all keys from parts: out_partial (parts, batch, queries, heads, head dim) and
    lse_partial (parts, batch, queries, heads). Returns (output, lse)."""
    dtype = out.dtype if out is not None else out_dtype
    found, lse = combine(out_partial, lse_partial, dtype)
    return (found if out is None else out.copy_(found)), lse


def get_scheduler_metadata(
    batch_size: int,
    max_seqlen_q: int,
    max_seqlen_k: int,
    num_heads_q: int,
    num_heads_kv: int,
    headdim: int,
    cache_seqlens: Tensor,
    qkv_dtype: Any = torch.bfloat16,
    headdim_v: int | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k_new: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    page_size: int | None = None,
    max_seqlen_k_new: int = 0,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    attention_chunk: int = 0,
    has_softcap: bool = False,
    num_splits: int = 0,
    pack_gqa: bool | None = None,
    sm_margin: int = 0,
) -> Tensor:
    """A tensor to pass back as scheduler_metadata. Tilewise plans by itself and reads nothing of
    it."""
    return torch.zeros(batch_size, dtype=torch.int32, device=cache_seqlens.device)
