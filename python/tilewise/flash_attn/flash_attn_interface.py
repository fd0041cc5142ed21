"""The functions of flash_attn.flash_attn_interface, computed by tilewise.

Names, arguments, their order and their defaults are flash_attn's. q is (batch, length, heads, head
dim), packed (tokens, heads, head dim); the heads of k and v may be fewer, a divisor of q's. Beyond
flash_attn tilewise takes float32 and float64, tensors on the processor, any head dim, softcap
together with dropout, and `s_aux`, attention sinks of (heads).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tilewise.flash_attn import flash_attn_2_cuda as flash_attn_gpu
from tilewise.flash_attn._attending import returned
from tilewise.flash_attn._autograd import (
    FlashAttnFunc,
    FlashAttnKVPackedFunc,
    FlashAttnQKVPackedFunc,
    FlashAttnVarlenFunc,
    FlashAttnVarlenKVPackedFunc,
    FlashAttnVarlenQKVPackedFunc,
)
from tilewise.flash_attn._cached import flash_attn_with_kvcache
from tilewise.flash_attn._kernels import (
    _flash_attn_backward,
    _flash_attn_forward,
    _flash_attn_varlen_backward,
    _flash_attn_varlen_forward,
    _get_block_size_n,
    maybe_contiguous,
)
from tilewise.flash_attn._layout import packed, parts_of
from tilewise.flash_attn._meaning import Wanted
from tilewise.flash_attn._probabilities import round_multiple
from tilewise.flash_attn._unpadded import (
    flash_attn_unpadded,
    flash_attn_unpadded_func,
    flash_attn_unpadded_kvpacked_func,
    flash_attn_unpadded_qkvpacked_func,
    flash_attn_unpadded_qkvpacked_split_func,
)

USE_TRITON_ROCM = False
flash_attn_cuda = flash_attn_gpu  # its name in older versions
_wrapped_flash_attn_forward = _flash_attn_forward
_wrapped_flash_attn_backward = _flash_attn_backward
_wrapped_flash_attn_varlen_forward = _flash_attn_varlen_forward
_wrapped_flash_attn_varlen_backward = _flash_attn_varlen_backward

__all__ = [
    "USE_TRITON_ROCM",
    "FlashAttnFunc",
    "FlashAttnKVPackedFunc",
    "FlashAttnQKVPackedFunc",
    "FlashAttnVarlenFunc",
    "FlashAttnVarlenKVPackedFunc",
    "FlashAttnVarlenQKVPackedFunc",
    "_flash_attn_backward",
    "_flash_attn_forward",
    "_flash_attn_varlen_backward",
    "_flash_attn_varlen_forward",
    "_get_block_size_n",
    "flash_attn_cuda",
    "flash_attn_func",
    "flash_attn_gpu",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_unpadded",
    "flash_attn_unpadded_func",
    "flash_attn_unpadded_kvpacked_func",
    "flash_attn_unpadded_qkvpacked_func",
    "flash_attn_unpadded_qkvpacked_split_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
    "maybe_contiguous",
    "round_multiple",
]


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    *,
    s_aux: Tensor | None = None,
) -> Any:
    """Attention of q (batch, queries, heads, head dim) over k and v (batch, keys, key heads, ...).

    causal and window_size, whose -1 is no limit, are aligned to the last query and the last key.
    Returns the output, or with return_attn_probs (output, softmax_lse, S_dmask).

    >>> import torch
    >>> from tilewise.flash_attn import flash_attn_func
    >>> q = k = v = torch.randn(2, 10, 4, 16)
    >>> flash_attn_func(q, k, v, causal=True).shape
    torch.Size([2, 10, 4, 16])
    """
    wanted = Wanted(
        dropout_p,
        softmax_scale,
        causal,
        window_size,
        softcap,
        alibi_slopes,
        deterministic,
        s_aux,
    )
    return returned(q, k, v, wanted, return_attn_probs)


def flash_attn_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """flash_attn_func with keys and values in one tensor, (batch, keys, 2, key heads, head dim)."""
    wanted = Wanted(
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic
    )
    k, v = parts_of("kv", kv, 5, 2)
    return returned(q, k, v, wanted, return_attn_probs)


def flash_attn_qkvpacked_func(
    qkv: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """flash_attn_func with all three in one tensor, (batch, length, 3, heads, head dim)."""
    wanted = Wanted(
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic
    )
    q, k, v = parts_of("qkv", qkv, 5, 3)
    return returned(q, k, v, wanted, return_attn_probs)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
    block_table: Tensor | None = None,
    *,
    s_aux: Tensor | None = None,
) -> Any:
    """flash_attn_func of packed sequences: sequence b has rows cu_seqlens[b] to cu_seqlens[b + 1].

    q is (tokens, heads, head dim). With block_table (batch, pages) k and v are (pages, page size,
    key heads, head dim), and cu_seqlens_k says how many keys each sequence has in its pages.
    """
    wanted = Wanted(
        dropout_p,
        softmax_scale,
        causal,
        window_size,
        softcap,
        alibi_slopes,
        deterministic,
        s_aux,
    )
    lengths = packed(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, block_table)
    return returned(q, k, v, wanted, return_attn_probs, lengths)


def flash_attn_varlen_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """flash_attn_varlen_func with keys and values in one tensor, (tokens, 2, key heads, ...)."""
    wanted = Wanted(
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic
    )
    lengths = packed(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    k, v = parts_of("kv", kv, 4, 2)
    return returned(q, k, v, wanted, return_attn_probs, lengths)


def flash_attn_varlen_qkvpacked_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Tensor | None = None,
    deterministic: bool = False,
    return_attn_probs: bool = False,
) -> Any:
    """flash_attn_varlen_func with all three in one tensor, (tokens, 3, heads, head dim)."""
    wanted = Wanted(
        dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes, deterministic
    )
    lengths = packed(cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
    q, k, v = parts_of("qkv", qkv, 4, 3)
    return returned(q, k, v, wanted, return_attn_probs, lengths)
