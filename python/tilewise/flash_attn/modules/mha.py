"""Multi-head attention as a module, by the names of flash_attn.modules.mha."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tilewise.flash_attn._cached import flash_attn_with_kvcache
from tilewise.flash_attn._refusal import RefusedError
from tilewise.flash_attn.layers.rotary import RotaryEmbedding
from tilewise.flash_attn.modules._inner import (
    CrossAttention,
    FlashCrossAttention,
    FlashSelfAttention,
    SelfAttention,
)
from tilewise.torch._slopes import standard_slopes

__all__ = [
    "MHA",
    "CrossAttention",
    "FlashCrossAttention",
    "FlashSelfAttention",
    "LinearResidual",
    "ParallelMHA",
    "SelfAttention",
    "get_alibi_slopes",
]


def get_alibi_slopes(nheads: int) -> list[float]:
    """ALiBi's slopes as its authors chose them.

    >>> get_alibi_slopes(4)
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    return standard_slopes(nheads)


class MHA(nn.Module):
    """Multi-head attention with its projections: (batch, length, embed_dim) in and out.

    Parameters are Wqkv and out_proj; with cross_attn Wq, Wkv and out_proj. fused_bias_fc changes
    nothing. use_flash_attn decides only which arguments are allowed, as in flash_attn: with it a
    window, ALiBi and packed tokens, without it a key_padding_mask.

    >>> import torch
    >>> attention = MHA(64, 4, causal=True, rotary_emb_dim=16, use_flash_attn=True)
    >>> attention(torch.randn(2, 10, 64)).shape
    torch.Size([2, 10, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        num_heads_kv: int | None = None,
        cross_attn: bool = False,
        qkv_proj_bias: bool = True,
        out_proj_bias: bool = True,
        dropout: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        layer_idx: int | None = None,
        dwconv: bool = False,
        rotary_emb_dim: int = 0,
        rotary_emb_base: float = 10000.0,
        rotary_emb_scale_base: float | None = None,
        rotary_emb_interleaved: bool = False,
        use_alibi: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        fused_bias_fc: bool = False,
        use_flash_attn: bool = False,
        return_residual: bool = False,
        checkpointing: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        heads_kv = num_heads if num_heads_kv is None else num_heads_kv
        _require_sizes(embed_dim, num_heads, heads_kv)
        if not use_flash_attn and (use_alibi or tuple(window_size) != (-1, -1)):
            raise RefusedError("use_alibi and window_size go with use_flash_attn=True; add that.")
        if cross_attn and rotary_emb_dim:
            raise RefusedError(f"rotary_emb_dim is {rotary_emb_dim}; with cross_attn it must be 0.")
        self.embed_dim, self.num_heads, self.num_heads_kv = embed_dim, num_heads, heads_kv
        self.head_dim = embed_dim // num_heads
        self.cross_attn, self.causal, self.layer_idx = cross_attn, causal, layer_idx
        self.dwconv, self.rotary_emb_dim = dwconv, rotary_emb_dim
        self.use_flash_attn, self.return_residual = use_flash_attn, return_residual
        self.checkpointing, self.window_size = checkpointing, window_size
        place = {"device": device, "dtype": dtype}
        if rotary_emb_dim:
            tables = (rotary_emb_base, rotary_emb_interleaved, rotary_emb_scale_base, device)
            self.rotary_emb = RotaryEmbedding(rotary_emb_dim, *tables)
        width_kv = 2 * heads_kv * self.head_dim
        if cross_attn:
            self.Wq = nn.Linear(embed_dim, embed_dim, qkv_proj_bias, **place)
            self.Wkv = nn.Linear(embed_dim, width_kv, qkv_proj_bias, **place)
        else:
            self.Wqkv = nn.Linear(embed_dim, embed_dim + width_kv, qkv_proj_bias, **place)
        if dwconv and not cross_attn and heads_kv == num_heads:
            self.dwconv_qkv = _convolution(3 * embed_dim, place)
        elif dwconv:
            self.dwconv_q = _convolution(embed_dim, place)
            self.dwconv_kv = _convolution(width_kv, place)
        self._add_inner(use_alibi, softmax_scale, dropout, device)
        self.out_proj = nn.Linear(embed_dim, embed_dim, out_proj_bias, **place)

    def _add_inner(
        self, use_alibi: bool, softmax_scale: float | None, dropout: float, device: Any
    ) -> None:
        scores: dict[str, Any] = {
            "causal": self.causal,
            "softmax_scale": softmax_scale,
            "attention_dropout": dropout,
        }
        if not self.use_flash_attn:
            self.inner_attn: Any = SelfAttention(**scores)
            self.inner_cross_attn: Any = CrossAttention(**scores)
            return
        slopes = None
        if use_alibi:
            slopes = torch.tensor(
                get_alibi_slopes(self.num_heads), device=device, dtype=torch.float32
            )
        more: dict[str, Any] = {"alibi_slopes": slopes, "window_size": self.window_size}
        self.inner_attn = FlashSelfAttention(**scores, **more)
        self.inner_cross_attn = FlashCrossAttention(**scores, **more)

    def allocate_inference_cache(
        self, batch_size: int, max_seqlen: int, dtype: Any = None
    ) -> Tensor:
        """An empty cache, (batch, max_seqlen, 2, key heads, head dim)."""
        weight = self.out_proj.weight
        shape = (batch_size, max_seqlen, 2, self.num_heads_kv, self.head_dim)
        return torch.empty(shape, dtype=dtype or weight.dtype, device=weight.device)

    def forward(
        self,
        x: Tensor,
        x_kv: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        max_seqlen: int | None = None,
        mixer_subset: Any = None,
        inference_params: Any = None,
        **kwargs: Any,
    ) -> Any:
        """x (batch, length, embed_dim), or with cu_seqlens and max_seqlen packed (tokens, ...).

        x_kv: what cross attention takes keys and values from; x itself when it is not given.
        key_padding_mask (batch, keys): True means that the key counts.
        mixer_subset: which rows of x are queries, in cross attention.
        inference_params: x holds the tokens after those in its caches.
        """
        self._require_together(key_padding_mask, cu_seqlens, inference_params)
        rank = 3 if cu_seqlens is None else 2
        if x.dim() != rank:
            raise RefusedError(
                f"x has shape {tuple(x.shape)}; it must have {rank} dimensions: (batch, length, "
                "embed_dim), or with cu_seqlens (tokens, embed_dim)."
            )
        q, kv, qkv = self._project(x, x_kv, mixer_subset)
        if self.use_flash_attn:
            more = {"cu_seqlens": cu_seqlens, "max_seqlen": max_seqlen, **kwargs}
        else:
            more = {"key_padding_mask": key_padding_mask, **kwargs}
        if self.rotary_emb_dim:
            q, kv, qkv = self._rotate(q, kv, qkv, inference_params)
        if inference_params is not None:
            context = self._continue(q, kv, inference_params)
        elif qkv is not None:
            context = self._inner(self.inner_attn, (qkv,), more)
        else:
            if cu_seqlens is not None:
                more.setdefault("cu_seqlens_k", cu_seqlens)
                more.setdefault("max_seqlen_k", max_seqlen)
            context = self._inner(self.inner_cross_attn, (q, kv), more)
        out = self.out_proj(context.flatten(-2))
        return (out, x) if self.return_residual else out

    def _require_together(
        self, mask: Tensor | None, cu_seqlens: Tensor | None, inference_params: Any
    ) -> None:
        if cu_seqlens is not None and not self.use_flash_attn:
            raise RefusedError("cu_seqlens goes with use_flash_attn=True; make the MHA with that.")
        if cu_seqlens is not None and (self.rotary_emb_dim or self.dwconv):
            raise RefusedError("cu_seqlens goes neither with rotary_emb_dim nor with dwconv.")
        if mask is not None and (self.use_flash_attn or cu_seqlens is not None):
            raise RefusedError(
                "key_padding_mask goes without use_flash_attn and without cu_seqlens; leave the "
                "padding out by unpad_input instead."
            )
        if inference_params is not None and (
            mask is not None or cu_seqlens is not None or self.dwconv
        ):
            raise RefusedError(
                "inference_params goes neither with key_padding_mask and cu_seqlens nor with "
                "dwconv."
            )

    def _project(self, x: Tensor, x_kv: Tensor | None, mixer_subset: Any) -> Any:
        """q, kv, and the tensor that holds both if they have as many heads; else None."""
        heads = (self.num_heads, self.head_dim)
        if self.cross_attn:
            q = self.Wq(x if mixer_subset is None else x[:, mixer_subset])
            kv = self.Wkv(x if x_kv is None else x_kv)
        elif x_kv is not None or mixer_subset is not None:
            raise RefusedError("x_kv and mixer_subset are for cross_attn=True; make the MHA so.")
        elif self.num_heads_kv == self.num_heads:
            qkv = self.Wqkv(x)
            qkv = self._convolved(qkv, "dwconv_qkv").unflatten(-1, (3, *heads))
            return qkv.select(-3, 0), qkv.narrow(-3, 1, 2), qkv
        else:
            q, kv = self.Wqkv(x).split(
                (self.embed_dim, self.Wqkv.out_features - self.embed_dim), -1
            )
        q = self._convolved(q, "dwconv_q").unflatten(-1, heads)
        kv = self._convolved(kv, "dwconv_kv")
        return q, kv.unflatten(-1, (2, self.num_heads_kv, self.head_dim)), None

    def _convolved(self, x: Tensor, name: str) -> Tensor:
        """x, or its convolution over each token and the two tokens before it."""
        if not self.dwconv:
            return x
        convolved: Tensor = getattr(self, name)(x.transpose(1, 2))[..., :-2]
        return convolved.transpose(1, 2).contiguous()

    def _rotate(self, q: Tensor, kv: Tensor, qkv: Tensor | None, inference_params: Any) -> Any:
        offset: Any = 0
        longest = None
        if inference_params is not None:
            offset, longest = _offset(inference_params, q.shape[0]), inference_params.max_seqlen
        if qkv is not None:
            qkv = self.rotary_emb(qkv, seqlen_offset=offset, max_seqlen=longest)
            return qkv.select(-3, 0), qkv.narrow(-3, 1, 2), qkv
        # q and kv are views of one projection, and autograd lets neither be written over alone.
        q, kv = q.clone(), kv.clone()
        return (*self.rotary_emb(q, kv, seqlen_offset=offset, max_seqlen=longest), None)

    def _inner(self, module: nn.Module, tensors: tuple[Tensor, ...], more: Any) -> Any:
        if not self.checkpointing:
            return module(*tensors, **more)
        return checkpoint(module, *tensors, use_reentrant=False, **more)

    def _continue(self, q: Tensor, kv: Tensor, inference_params: Any) -> Tensor:
        """Attention of the new queries over the whole cache, to which the new keys are added."""
        if self.layer_idx is None:
            raise RefusedError(
                "inference_params is given, but this MHA was made without layer_idx."
            )
        memory = inference_params.key_value_memory_dict
        if self.layer_idx not in memory:
            sizes = (inference_params.max_batch_size, inference_params.max_seqlen)
            memory[self.layer_idx] = self.allocate_inference_cache(*sizes, dtype=kv.dtype)
        first = inference_params.batch_size_offset
        cache = memory[self.layer_idx][first : first + q.shape[0]]
        inner = self.inner_cross_attn
        slopes = getattr(inner, "alibi_slopes", None)
        k_cache, v_cache = cache.unbind(2)
        k, v = kv.unbind(2)
        return flash_attn_with_kvcache(
            q,
            k_cache,
            v_cache,
            k,
            v,
            cache_seqlens=_offset(inference_params, q.shape[0]),
            softmax_scale=inner.softmax_scale,
            causal=inner.causal,
            window_size=self.window_size,
            alibi_slopes=None if slopes is None else slopes.to(torch.float32),
        )


class LinearResidual(nn.Linear):
    """A linear layer that also returns what it got, for a residual path."""

    def forward(self, input: Tensor) -> Any:  # noqa: A002
        return super().forward(input), input


def _update_kv_cache(kv: Tensor, inference_params: Any, layer_idx: Any) -> Tensor:
    """Writes kv (batch, new, 2, key heads, head dim) into a layer's cache, and makes the cache at
    the layer's first call. Returns the part of the cache that is filled."""
    memory = inference_params.key_value_memory_dict
    if layer_idx not in memory:
        sizes = (inference_params.max_batch_size, inference_params.max_seqlen)
        memory[layer_idx] = kv.new_empty((*sizes, *kv.shape[2:]))
    first, start = inference_params.batch_size_offset, inference_params.seqlen_offset
    cache: Tensor = memory[layer_idx][first : first + kv.shape[0], : start + kv.shape[1]]
    cache[:, start:] = kv
    return cache


class ParallelMHA(nn.Module):
    """Refused: it divides heads among processes, and tilewise has no process groups."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "ParallelMHA shares out heads among processes, and tilewise has no process groups; "
            "take MHA, or flash_attn_func between parallel projections of your own."
        )


def _offset(inference_params: Any, batch: int) -> Any:
    """How many tokens the caches hold: a number, or one for each sequence."""
    lengths = inference_params.lengths_per_sample
    if lengths is None:
        return inference_params.seqlen_offset
    first = inference_params.batch_size_offset
    return lengths[first : first + batch]


def _convolution(width: int, place: dict[str, Any]) -> nn.Conv1d:
    return nn.Conv1d(width, width, kernel_size=3, padding=2, groups=width, **place)


def _require_sizes(embed_dim: int, heads: int, heads_kv: int) -> None:
    if heads < 1 or embed_dim % heads:
        raise RefusedError(
            f"embed_dim is {embed_dim}; it must be a multiple of num_heads, {heads}."
        )
    if heads_kv < 1 or heads % heads_kv:
        raise RefusedError(f"num_heads_kv is {heads_kv}; it must divide num_heads, {heads}.")
