"""The private functions of FlashAttention-4 that torch calls if told to use that package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._kernels import gradients_into
from tilewise.flash_attn._later import Factors, attend_later
from tilewise.flash_attn._layout import Layout
from tilewise.flash_attn._meaning import Wanted
from tilewise.flash_attn._refusal import CUTE, RefusedError
from tilewise.flash_attn.cute._refusals import refusing


def operands_of(
    q: Tensor | None, k: Tensor | None, v: Tensor, qv: Tensor | None
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor | None]:
    """((q, k, v), qv). Where q and k are None the scores are qv.v alone."""
    if q is not None and k is not None:
        return (q, k, v), qv
    if q is not None or k is not None or qv is None:
        given = [name for name, x in (("q", q), ("k", k), ("qv", qv)) if x is not None]
        raise RefusedError(
            f"Of q, k and qv there is {' and '.join(given) or 'none'}; pass q and k, or qv, or all."
        )
    return (qv, v, v), None


@refusing
def _flash_attn_fwd(
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
    page_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    softcap: float | None = None,
    window_size_left: int | None = None,
    window_size_right: int | None = None,
    learnable_sink: Tensor | None = None,
    tile_mn: tuple[int, int] | None = None,
    mma_pv_is_rs: bool | None = None,
    intra_wg_overlap: bool | None = None,
    num_threads: int = 384,
    num_splits: int = 1,
    pack_gqa: bool | None = None,
    _arch: int | None = None,
    score_mod: Any = None,
    mask_mod: Any = None,
    block_sparse_tensors: Any = None,
    return_lse: bool = False,
    out: Tensor | None = None,
    lse: Tensor | None = None,
    aux_tensors: Any = None,
    aux_scalars: Any = None,
    q_descale: Tensor | None = None,
    k_descale: Tensor | None = None,
    v_descale: Tensor | None = None,
    gather_kv_indices: Tensor | None = None,
    scheduler_metadata: Any = None,
    seqlen_k_per_split: int | None = None,
    disable_scheduler_metadata: bool = False,
    gather_bwd_recompute_p: bool = False,
) -> tuple[Tensor, Tensor | None, None, None, None]:
    """(output, lse, None, None, None), without gradients; in `out` and `lse` where given.

    Arguments that tune FlashAttention-4's kernels, tile_mn and the like, change nothing.
    """
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=(window_size_left, window_size_right),
        softcap=softcap or 0.0,
        sinks=learnable_sink,
        has_signed_window=True,
    ).options()
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, seqused_q, seqused_k)
    factors = Factors(q_descale, k_descale, v_descale)
    with torch.no_grad():
        operands, qv = operands_of(q, k, v, qv)
        layout = Layout(*lengths, page_table)
        found = attend_later(operands, options, layout, qv, factors, CUTE)
        output = found[0] if out is None else out.copy_(found[0])
        row = found[1] if lse is None else lse.copy_(found[1])
    return output, (row if return_lse or lse is not None else None), None, None, None


@refusing
def _flash_attn_bwd(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    dout: Tensor,
    lse: Tensor,
    softmax_scale: float | None = None,
    causal: bool = False,
    softcap: float = 0.0,
    window_size_left: int | None = None,
    window_size_right: int | None = None,
    m_block_size: int = 64,
    n_block_size: int = 128,
    num_threads: int = 256,
    pack_gqa: bool = False,
    num_stages_Q: int = 2,
    num_stages_dO: int = 2,
    SdP_swapAB: bool = False,
    dKV_swapAB: bool = False,
    dQ_swapAB: bool = False,
    AtomLayoutMSdP: int = 2,
    AtomLayoutNdKV: int = 2,
    AtomLayoutMdQ: int = 2,
    V_in_regs: bool = False,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    seqused_q: Tensor | None = None,
    seqused_k: Tensor | None = None,
    max_seqlen_q: int | None = None,
    max_seqlen_k: int | None = None,
    deterministic: bool = False,
    dq: Tensor | None = None,
    dk: Tensor | None = None,
    dv: Tensor | None = None,
    score_mod: Any = None,
    score_mod_bwd: Any = None,
    mask_mod: Any = None,
    aux_tensors: Any = None,
    aux_scalars: Any = None,
    block_sparse_tensors: Any = None,
    dlse: Tensor | None = None,
    learnable_sink: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """(dq, dk, dv), written into the arguments of these names where they are given. dlse is the
    gradient that arrives at the lse.

    Arguments that tune FlashAttention-4's kernels, m_block_size to V_in_regs, change nothing.
    """
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=(window_size_left, window_size_right),
        softcap=softcap,
        deterministic=deterministic,
        sinks=learnable_sink,
        has_signed_window=True,
    ).options()
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, seqused_q, seqused_k)
    options.update(Layout(*lengths).options(q, k))
    with torch.no_grad():
        return gradients_into((dout, q, k, v, out, lse), (dq, dk, dv), options, dlse)
