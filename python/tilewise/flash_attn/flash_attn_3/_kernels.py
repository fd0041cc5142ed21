"""The private functions of FlashAttention-3's interface. They have no gradients of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._cached import (
    Queries,
    Rotation,
    extend,
    place_of,
    require_new,
    require_tables,
)
from tilewise.flash_attn._kernels import gradients_into, row_sums
from tilewise.flash_attn._later import Factors, attend_later
from tilewise.flash_attn._layout import Layout
from tilewise.flash_attn._meaning import Wanted
from tilewise.flash_attn._refusal import APPENDED


def _flash_attn_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    k_new: Tensor | None = None,
    v_new: Tensor | None = None,
    qv: Tensor | None = None,
    out_: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    cu_seqlens_k_new: Tensor | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    page_table: Tensor | None = None,
    kv_batch_idx: Tensor | None = None,
    leftpad_k: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    seqlens_rotary: Tensor | None = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size_left: int = -1,
    window_size_right: int = -1,
    attention_chunk: int = 0,
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    scheduler_metadata: Tensor | None = None,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    sm_margin: int = 0,
    s_aux: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(output, softmax_lse, and two empty tensors in place of FlashAttention-3's partial results).

    With k_new and v_new k and v are caches, seqused_k says how full they are, and the new keys are
    appended. scheduler_metadata, num_splits, pack_gqa and sm_margin change nothing.
    """
    window = (window_size_left, window_size_right)
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=window,
        softcap=softcap,
        sinks=s_aux,
        chunk=attention_chunk,
    ).options()
    with torch.no_grad():
        if page_table is not None and kv_batch_idx is not None:  # which row of the table then
            page_table, kv_batch_idx = page_table.index_select(0, kv_batch_idx), None
        new = require_new(k_new, v_new, cu_seqlens_k_new, APPENDED)
        if new is not None or rotary_cos is not None:
            queries = Queries(q, cu_seqlens_q, _rows(max_seqlen_q, q, cu_seqlens_q))
            where = (kv_batch_idx, leftpad_k, page_table)
            cache = place_of((k, v), seqused_k, queries.batch, new is not None, *where, APPENDED)
            is_banded = causal or attention_chunk or window_size_left >= 0 or window_size_right >= 0
            rotation = _rotation(
                rotary_cos, rotary_sin, rotary_interleaved, not is_banded, seqlens_rotary
            )
            q, seqused_k = extend(cache, queries, new, rotation, APPENDED)
            k, v = cache.k_cache, cache.v_cache
        layout = Layout(
            cu_seqlens_q,
            cu_seqlens_k,
            max_seqlen_q,
            max_seqlen_k,
            seqused_q,
            seqused_k,
            page_table,
            leftpad_k,
            kv_batch_idx,
        )
        factors = Factors(q_descale, k_descale, v_descale)
        out, lse = attend_later((q, k, v), options, layout, qv, factors)
        out = out if out_ is None else out_.copy_(out)
        return out, lse, lse.new_empty(0), lse.new_empty(0)


def _rows(longest: Any, q: Tensor, offsets: Tensor | None) -> Any:
    return q.shape[0] if offsets is not None and longest is None else longest


def _rotation(
    cos: Tensor | None, sin: Tensor | None, interleaved: bool, is_fixed: bool, positions: Any
) -> Rotation | None:
    require_tables(cos, sin)
    if cos is None or sin is None:
        return None
    return Rotation(cos, sin, interleaved, is_fixed, positions)


def _flash_attn_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    softmax_lse: Tensor,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    sequed_q: Tensor | None = None,
    sequed_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    dq: Tensor | None = None,
    dk: Tensor | None = None,
    dv: Tensor | None = None,
    softmax_scale: float | None = None,
    is_causal: bool = False,
    window_size_left: int = -1,
    window_size_right: int = -1,
    softcap: float = 0.0,
    deterministic: bool = False,
    sm_margin: int = 0,
) -> Tensor:
    """Fills those of dq, dk and dv that are given; returns the row sums of dout * out."""
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=is_causal,
        window_size=(window_size_left, window_size_right),
        softcap=softcap,
        deterministic=deterministic,
    ).options()
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, sequed_q, sequed_k)
    layout = Layout(*lengths)
    options.update(layout.options(q, k))
    with torch.no_grad():
        gradients_into((dout, q, k, v, out, softmax_lse), (dq, dk, dv), options)
    return row_sums(dout, out, cu_seqlens_q)
