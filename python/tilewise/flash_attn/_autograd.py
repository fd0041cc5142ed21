"""FlashAttnFunc and its kin, whose `apply` some packages call in place of the functions.

These classes are no torch.autograd.Functions: tilewise's own calls have the gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn._attending import returned
from tilewise.flash_attn._layout import Layout, packed
from tilewise.flash_attn._meaning import Wanted


def _apply(
    tensors: tuple[Tensor, ...], tail: tuple[Any, ...], lengths: Layout | None = None
) -> Any:
    """`tail` holds FlashAttnFunc.apply's arguments after v; is_grad_enabled may be missing."""
    if len(tail) < 8:
        raise TypeError(
            f"apply needs the 8 arguments dropout_p to return_softmax but got {len(tail)} of them."
        )
    q, k, v = tensors
    wanted, return_softmax = Wanted(*tail[:7]), tail[7]
    is_grad_enabled = tail[8] if len(tail) > 8 else True
    with torch.set_grad_enabled(bool(is_grad_enabled) and torch.is_grad_enabled()):
        return returned(q, k, v, wanted, return_softmax, lengths)


def applied(name: str, function: Any) -> Any:
    """A class with flash_attn's name whose `apply` is this function."""
    return type(name, (), {"__doc__": function.__doc__, "apply": staticmethod(function)})


class FlashAttnFunc:
    @staticmethod
    def apply(q: Tensor, k: Tensor, v: Tensor, *tail: Any) -> Any:
        """The tail is dropout_p, softmax_scale, causal, window_size, softcap, alibi_slopes,
        deterministic, return_softmax, is_grad_enabled."""
        return _apply((q, k, v), tail)


class FlashAttnKVPackedFunc:
    @staticmethod
    def apply(q: Tensor, kv: Tensor, *tail: Any) -> Any:
        return _apply((q, *kv.unbind(-3)), tail)


class FlashAttnQKVPackedFunc:
    @staticmethod
    def apply(qkv: Tensor, *tail: Any) -> Any:
        return _apply(qkv.unbind(-3), tail)


class FlashAttnVarlenFunc:
    @staticmethod
    def apply(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: Any,
        max_seqlen_k: Any,
        *tail: Any,
    ) -> Any:
        """The tail is that of FlashAttnFunc.apply, with block_table before is_grad_enabled."""
        block_table = tail[8] if len(tail) > 8 else None
        longest = (max_seqlen_q, max_seqlen_k)
        lengths = packed(cu_seqlens_q, cu_seqlens_k, *longest, block_table)
        return _apply((q, k, v), (*tail[:8], *tail[9:]), lengths)


class FlashAttnVarlenKVPackedFunc:
    @staticmethod
    def apply(
        q: Tensor,
        kv: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: Any,
        max_seqlen_k: Any,
        *tail: Any,
    ) -> Any:
        lengths = packed(cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
        return _apply((q, *kv.unbind(-3)), tail, lengths)


class FlashAttnVarlenQKVPackedFunc:
    @staticmethod
    def apply(qkv: Tensor, cu_seqlens: Tensor, max_seqlen: Any, *tail: Any) -> Any:
        lengths = packed(cu_seqlens, cu_seqlens, max_seqlen, max_seqlen)
        return _apply(qkv.unbind(-3), tail, lengths)
