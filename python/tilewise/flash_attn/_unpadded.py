"""The names that flash_attn's functions of packed sequences had before version 2.

With causal the diagonal begins at the top left, as in flash_attn before 2.1: the first query sees
only the first key, also where there are fewer or more queries than keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._attending import returned
from tilewise.flash_attn._layout import packed, parts_of
from tilewise.flash_attn._meaning import Wanted
from tilewise.flash_attn._refusal import RefusedError, require_tensors


def flash_attn_unpadded_func(
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
    return_attn_probs: bool = False,
    deterministic: bool = False,
) -> Any:
    """flash_attn_varlen_func of before version 2."""
    diagonal = "top_left" if causal and cu_seqlens_q is not cu_seqlens_k else None
    wanted = Wanted(
        dropout_p, softmax_scale, causal, deterministic=deterministic, diagonal=diagonal
    )
    lengths = packed(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    return returned(q, k, v, wanted, return_attn_probs, lengths)


def flash_attn_unpadded_kvpacked_func(
    q: Tensor,
    kv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
    deterministic: bool = False,
) -> Any:
    """flash_attn_varlen_kvpacked_func of before version 2."""
    k, v = parts_of("kv", kv, 4, 2)
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    rest: Any = (dropout_p, softmax_scale, causal, return_attn_probs, deterministic)
    return flash_attn_unpadded_func(q, k, v, *lengths, *rest)


def flash_attn_unpadded_qkvpacked_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
    deterministic: bool = False,
) -> Any:
    """flash_attn_varlen_qkvpacked_func of before version 2."""
    q, k, v = parts_of("qkv", qkv, 4, 3)
    lengths = (cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
    rest: Any = (dropout_p, softmax_scale, causal, return_attn_probs, deterministic)
    return flash_attn_unpadded_func(q, k, v, *lengths, *rest)


def flash_attn_unpadded_qkvpacked_split_func(
    qkv: Tensor,
    cu_seqlens: Tensor,
    max_seqlen0: int,
    max_seqlen1: int,
    batch_size0: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
    deterministic: bool = False,
) -> Any:
    """flash_attn_unpadded_qkvpacked_func where the sequences before batch_size0 have at most
    max_seqlen0 rows and the others max_seqlen1; tilewise makes one call for all."""
    longest = max(max_seqlen0, max_seqlen1)
    rest: Any = (dropout_p, softmax_scale, causal, return_attn_probs, deterministic)
    return flash_attn_unpadded_qkvpacked_func(qkv, cu_seqlens, longest, *rest)


def flash_attn_unpadded(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    return_attn_probs: bool = False,
    deterministic: bool = False,
) -> Any:
    """flash_attn_unpadded_func where all tokens of q are one sequence if cu_seqlens_q is missing.
    Without cu_seqlens_k, k has q's sequences if it has as many tokens, else it is one."""
    require_tensors(q=q, k=k)
    if q.dim() != 3:
        raise RefusedError(
            f"q has shape {tuple(q.shape)}; it must be packed, (tokens, heads, head dim). "
            "flash_attn_func takes (batch, length, heads, head dim)."
        )
    if cu_seqlens_q is None:
        cu_seqlens_q = _whole(q)
    if cu_seqlens_k is None:
        cu_seqlens_k = cu_seqlens_q if k.shape[0] == q.shape[0] else _whole(k)
    lengths = (
        cu_seqlens_q,
        cu_seqlens_k,
        q.shape[0] if max_seqlen_q is None else max_seqlen_q,
        k.shape[0] if max_seqlen_k is None else max_seqlen_k,
    )
    rest: Any = (dropout_p, softmax_scale, causal, return_attn_probs, deterministic)
    return flash_attn_unpadded_func(q, k, v, *lengths, *rest)


def _whole(x: Tensor) -> Tensor:
    """The offsets of a single sequence."""
    return torch.tensor([0, x.shape[0]], dtype=torch.int32, device=x.device)
