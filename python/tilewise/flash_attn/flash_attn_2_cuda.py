"""The functions of flash_attn_2_cuda, flash_attn's compiled part, with arguments by position.

Arguments whose names end in _ may be None. gen_, a generator, must be None: dropout draws from
torch's default generator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._cached import flash_attn_with_kvcache
from tilewise.flash_attn._kernels import (
    _flash_attn_backward,
    _flash_attn_forward,
    _flash_attn_varlen_backward,
    _flash_attn_varlen_forward,
)
from tilewise.flash_attn._refusal import RefusedError, require_tensors


def fwd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out_: Tensor | None,
    alibi_slopes_: Tensor | None,
    p_dropout: float,
    softmax_scale: float,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    return_softmax: bool,
    gen_: Any = None,
) -> list[Tensor]:
    """[output, softmax_lse, S_dmask, rng_state]."""
    _refuse_generator(gen_)
    window = (window_size_left, window_size_right)
    scores = (p_dropout, softmax_scale, is_causal, *window, softcap, alibi_slopes_)
    found = _flash_attn_forward(q, k, v, *scores, return_softmax)
    return [_put(out_, found[0]), *found[1:]]


def varlen_fwd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out_: Tensor | None,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    seqused_k_: Tensor | None,
    leftpad_k_: Tensor | None,
    block_table_: Tensor | None,
    alibi_slopes_: Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    p_dropout: float,
    softmax_scale: float,
    zero_tensors: bool,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    return_softmax: bool,
    gen_: Any = None,
    num_splits: int = 0,
) -> list[Tensor]:
    """[output, softmax_lse, S_dmask, rng_state] of packed sequences."""
    _refuse_generator(gen_)
    window = (window_size_left, window_size_right)
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    scores = (p_dropout, softmax_scale, is_causal, *window, softcap, alibi_slopes_)
    places = (block_table_, leftpad_k_, seqused_k_)
    given = (q, k, v, *lengths, *scores, return_softmax, *places)
    found = _flash_attn_varlen_forward(*given)
    return [_put(out_, found[0]), *found[1:]]


def bwd(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq_: Tensor | None,
    dk_: Tensor | None,
    dv_: Tensor | None,
    alibi_slopes_: Tensor | None,
    p_dropout: float,
    softmax_scale: float,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    deterministic: bool,
    gen_: Any = None,
    rng_state: Tensor | None = None,
) -> list[Tensor]:
    """[dq, dk, dv, softmax_d]."""
    _refuse_generator(gen_)
    require_tensors(dout=dout, q=q, k=k, v=v, out=out, softmax_lse=softmax_lse)
    window = (window_size_left, window_size_right)
    scores = (p_dropout, softmax_scale, is_causal, *window, softcap, alibi_slopes_)
    places = _made((q, k, v), (dq_, dk_, dv_), torch.empty_like)
    read = (dout, q, k, v, out, softmax_lse, *places)
    given = (*read, *scores, deterministic, rng_state)
    return [*places, _flash_attn_backward(*given)]


def varlen_bwd(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    dq_: Tensor | None,
    dk_: Tensor | None,
    dv_: Tensor | None,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    alibi_slopes_: Tensor | None,
    max_seqlen_q: int,
    max_seqlen_k: int,
    p_dropout: float,
    softmax_scale: float,
    zero_tensors: bool,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    deterministic: bool,
    gen_: Any = None,
    rng_state: Tensor | None = None,
) -> list[Tensor]:
    """[dq, dk, dv, softmax_d] of packed sequences; a new tensor has 0 in rows that none owns."""
    _refuse_generator(gen_)
    require_tensors(dout=dout, q=q, k=k, v=v, out=out, softmax_lse=softmax_lse)
    window = (window_size_left, window_size_right)
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    scores = (p_dropout, softmax_scale, is_causal, *window, softcap, alibi_slopes_)
    places = _made((q, k, v), (dq_, dk_, dv_), torch.zeros_like)  # rows of no sequence stay 0
    read = (dout, q, k, v, out, softmax_lse, *places)
    given = (*read, *lengths, *scores, deterministic, rng_state)
    return [*places, _flash_attn_varlen_backward(*given)]


def fwd_kvcache(
    q: Tensor,
    kcache: Tensor,
    vcache: Tensor,
    k_: Tensor | None,
    v_: Tensor | None,
    seqlens_k_: Tensor | None,
    rotary_cos_: Tensor | None,
    rotary_sin_: Tensor | None,
    cache_batch_idx_: Tensor | None,
    leftpad_k_: Tensor | None,
    block_table_: Tensor | None,
    alibi_slopes_: Tensor | None,
    out_: Tensor | None,
    softmax_scale: float,
    is_causal: bool,
    window_size_left: int,
    window_size_right: int,
    softcap: float,
    is_rotary_interleaved: bool,
    num_splits: int = 0,
) -> list[Tensor]:
    """[output, softmax_lse]."""
    out, lse = flash_attn_with_kvcache(
        q,
        kcache,
        vcache,
        k=k_,
        v=v_,
        rotary_cos=rotary_cos_,
        rotary_sin=rotary_sin_,
        cache_seqlens=seqlens_k_,
        cache_batch_idx=cache_batch_idx_,
        cache_leftpad=leftpad_k_,
        block_table=block_table_,
        softmax_scale=softmax_scale,
        causal=is_causal,
        window_size=(window_size_left, window_size_right),
        softcap=softcap,
        rotary_interleaved=is_rotary_interleaved,
        alibi_slopes=alibi_slopes_,
        return_softmax_lse=True,
    )
    return [_put(out_, out), lse]


def _made(like: tuple[Tensor, ...], places: tuple[Tensor | None, ...], make: Any) -> list[Tensor]:
    """The places; make(like) takes the place of a missing one."""
    return [make(x) if y is None else y for x, y in zip(like, places)]


def _put(place: Tensor | None, result: Tensor) -> Tensor:
    return result if place is None else place.copy_(result)


def _refuse_generator(generator: Any) -> None:
    if generator is not None:
        raise RefusedError(
            "The `generator` argument is no longer supported and must be None; torch.manual_seed "
            "sets the generator that is used."
        )
