"""Attention as modules without projections: what MHA has inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tilewise.attention import attention
from tilewise.flash_attn._refusal import PACKED, RefusedError, asking, require_tensors
from tilewise.flash_attn.flash_attn_interface import (
    flash_attn_kvpacked_func,
    flash_attn_qkvpacked_func,
    flash_attn_varlen_kvpacked_func,
    flash_attn_varlen_qkvpacked_func,
)


class _Flash(nn.Module):
    """What FlashSelfAttention and FlashCrossAttention have in common."""

    def __init__(
        self,
        causal: bool,
        softmax_scale: float | None,
        attention_dropout: float,
        window_size: tuple[int, int],
        alibi_slopes: Tensor | None,
        deterministic: bool,
    ) -> None:
        super().__init__()
        self.causal, self.softmax_scale = causal, softmax_scale
        self.drop = nn.Dropout(attention_dropout)
        self.register_buffer("alibi_slopes", alibi_slopes, persistent=False)
        self.window_size, self.deterministic = window_size, deterministic

    def _options(self, causal: bool | None) -> dict[str, Any]:
        slopes = self.alibi_slopes
        return {
            "dropout_p": self.drop.p if self.training else 0.0,
            "softmax_scale": self.softmax_scale,
            "causal": self.causal if causal is None else causal,
            "window_size": self.window_size,
            "alibi_slopes": None if slopes is None else slopes.to(torch.float32),
            "deterministic": self.deterministic,
        }


class FlashSelfAttention(_Flash):
    """Self-attention of qkv (batch, length, 3, heads, head dim), or packed (tokens, 3, ...)."""

    def __init__(
        self,
        causal: bool = False,
        softmax_scale: float | None = None,
        attention_dropout: float = 0.0,
        window_size: tuple[int, int] = (-1, -1),
        alibi_slopes: Tensor | None = None,
        deterministic: bool = False,
    ) -> None:
        scores = (causal, softmax_scale, attention_dropout, window_size)
        super().__init__(*scores, alibi_slopes, deterministic)

    def forward(
        self,
        qkv: Tensor,
        causal: bool | None = None,
        cu_seqlens: Tensor | None = None,
        max_seqlen: int | None = None,
    ) -> Any:
        """With cu_seqlens and max_seqlen qkv is packed."""
        options = self._options(causal)
        if cu_seqlens is None:
            return flash_attn_qkvpacked_func(qkv, **options)
        longest = _require_longest("max_seqlen", max_seqlen)
        return flash_attn_varlen_qkvpacked_func(qkv, cu_seqlens, longest, **options)


class FlashCrossAttention(_Flash):
    """Attention of q (batch, length, heads, head dim) over kv (batch, keys, 2, key heads, ...)."""

    def __init__(
        self,
        causal: bool = False,
        softmax_scale: float | None = None,
        attention_dropout: float = 0.0,
        alibi_slopes: Tensor | None = None,
        window_size: tuple[int, int] = (-1, -1),
        deterministic: bool = False,
    ) -> None:
        scores = (causal, softmax_scale, attention_dropout, window_size)
        super().__init__(*scores, alibi_slopes, deterministic)

    def forward(
        self,
        q: Tensor,
        kv: Tensor,
        causal: bool | None = None,
        cu_seqlens: Tensor | None = None,
        max_seqlen: int | None = None,
        cu_seqlens_k: Tensor | None = None,
        max_seqlen_k: int | None = None,
    ) -> Any:
        """With cu_seqlens, max_seqlen and those of the keys both are packed."""
        options = self._options(causal)
        if cu_seqlens is None:
            return flash_attn_kvpacked_func(q, kv, **options)
        if cu_seqlens_k is None:
            raise RefusedError("cu_seqlens is given without cu_seqlens_k; packed keys have theirs.")
        longest = _require_longest("max_seqlen", max_seqlen)
        longest_k = _require_longest("max_seqlen_k", max_seqlen_k)
        lengths = (cu_seqlens, cu_seqlens_k, longest, longest_k)
        return flash_attn_varlen_kvpacked_func(q, kv, *lengths, **options)


class _Masked(nn.Module):
    """What SelfAttention and CrossAttention have in common."""

    def __init__(
        self,
        causal: bool = False,
        softmax_scale: float | None = None,
        attention_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.causal, self.softmax_scale = causal, softmax_scale
        self.drop = nn.Dropout(attention_dropout)

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        causal: bool | None,
        mask: Tensor | None,
        shift: int | None = None,
    ) -> Any:
        """With mask and causal, query i sees those keys up to i + shift that the mask allows. None
        as shift means the number of keys that count, less the number of queries."""
        options: dict[str, Any] = {"scale": self.softmax_scale}
        if self.training and self.drop.p:
            options["dropout"] = self.drop.p
        is_causal = self.causal if causal is None else causal
        if mask is not None:
            require_tensors(key_padding_mask=mask)
            if tuple(mask.shape) != tuple(k.shape[:2]):
                raise RefusedError(
                    f"key_padding_mask has shape {tuple(mask.shape)}; it must be (batch, keys), "
                    f"{tuple(k.shape[:2])}."
                )
            options["mask"] = _visible(mask, q.shape[1], is_causal, shift)
        elif is_causal:
            options["causal"] = True
        return asking(attention, q, k, v, names=PACKED, **options)


def _visible(mask: Tensor, queries: int, is_causal: bool, shift: int | None) -> Tensor:
    """Which keys each query sees: True is visible."""
    mask = mask.to(torch.bool)[:, None, None, :]
    if not is_causal:
        return mask
    place = torch.arange(mask.shape[-1], device=mask.device)
    row = torch.arange(queries, device=mask.device)[:, None]
    diagonal = mask.sum(-1, keepdim=True) - queries if shift is None else shift
    return mask & (place <= row + diagonal)


class SelfAttention(_Masked):
    """Self-attention of qkv (batch, length, 3, heads, head dim) with a padding mask."""

    def forward(
        self, qkv: Tensor, causal: bool | None = None, key_padding_mask: Tensor | None = None
    ) -> Any:
        """key_padding_mask (batch, length): True means that the key counts."""
        require_tensors(qkv=qkv)
        q, k, v = qkv.unbind(2)
        return self._attend(q, k, v, causal, key_padding_mask, shift=0)


class CrossAttention(_Masked):
    """Attention of q (batch, length, heads, head dim) over kv (batch, keys, 2, key heads, ...)."""

    def forward(
        self,
        q: Tensor,
        kv: Tensor,
        causal: bool | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Any:
        """key_padding_mask (batch, keys): True means that the key counts."""
        require_tensors(q=q, kv=kv)
        k, v = kv.unbind(2)
        return self._attend(q, k, v, causal, key_padding_mask)


def _require_longest(name: str, longest: int | None) -> int:
    if longest is None:
        raise RefusedError(
            f"cu_seqlens is given without {name}, the length of the longest sequence."
        )
    return longest
