"""Rotary embedding, by the names of flash_attn.layers.rotary.

Functions whose names end in _ write over the tensor that they rotate, and return it. Gradients
reach the rotated tensors, and not cos and sin (except in apply_rotary_emb_torch).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tilewise.flash_attn._autograd import applied
from tilewise.flash_attn._layout import heads_of
from tilewise.flash_attn._refusal import RefusedError, require_tensors
from tilewise.flash_attn.ops.triton.rotary import apply_rotary, put
from tilewise.torch._plain import is_compiling


def rotate_half(x: Tensor, interleaved: bool = False) -> Tensor:
    """(-b, a) of each pair (a, b).

    >>> import torch
    >>> rotate_half(torch.arange(4)).tolist(), rotate_half(torch.arange(4), True).tolist()
    ([-2, -3, 0, 1], [-1, 0, -3, 2])
    """
    if interleaved:
        first, second = x[..., ::2], x[..., 1::2]
        return torch.stack((-second, first), dim=-1).flatten(-2)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def apply_rotary_emb_torch(
    x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False
) -> Tensor:
    """apply_rotary_emb by torch's operations, to compare with. cos and sin are (length, columns) or
    (batch, length, columns)."""
    columns = 2 * cos.shape[-1]
    if columns > x.shape[-1]:
        raise RefusedError(
            f"cos has {cos.shape[-1]} columns, but half a head is {x.shape[-1] // 2}."
        )

    def spread(table: Tensor) -> Tensor:
        wide = table.repeat_interleave(2, -1) if interleaved else torch.cat((table, table), -1)
        return wide.unsqueeze(-2)

    turned, rest = x[..., :columns], x[..., columns:]
    turned = turned * spread(cos) + rotate_half(turned, interleaved) * spread(sin)
    return torch.cat((turned, rest), dim=-1)


class _Part(NamedTuple):
    """Some heads of a tensor, and the tables that turn them."""

    index: Any
    cos: Tensor
    sin: Tensor


class _How(NamedTuple):
    """What the parts have in common."""

    interleaved: bool
    seqlen_offsets: Any
    cu_seqlens: Any = None
    max_seqlen: Any = None


def _turned(x: Tensor, part: _Part, how: _How, conjugate: bool = False) -> Tensor:
    """The part's heads of x, turned, as a new tensor."""
    view = x[part.index]
    flat = view.flatten(2, 3) if view.dim() == 5 else view
    where = (how.seqlen_offsets, how.cu_seqlens, how.max_seqlen, how.interleaved)
    return apply_rotary(flat, part.cos, part.sin, *where, conjugate=conjugate).view(view.shape)


def _turn(x: Tensor, parts: list[_Part], how: _How) -> Tensor:
    """Turns parts of x in place."""
    for part in parts:
        put(_turned(x, part, how), x[part.index], how.cu_seqlens)
    return x


class _InPlace(torch.autograd.Function):
    """Rotates in place without mark_dirty, so that a leaf may be written over, as in flash_attn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parts: list[_Part], how: _How) -> Tensor:
        ctx.parts, ctx.how = parts, how
        return _turn(x, parts, how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        gradient = gradient.clone()
        for part in ctx.parts:
            gradient[part.index] = _turned(gradient, part, ctx.how, conjugate=True)
        return gradient, None, None


def _in_place(x: Tensor, parts: list[_Part], how: _How) -> Tensor:
    if not (torch.is_grad_enabled() and x.requires_grad):
        return _turn(x, parts, how)
    if is_compiling():
        made = _turn(x.clone(), parts, how)
        with torch.no_grad():  # a leaf may be written over like this alone
            x.copy_(made)
        return made
    found: Tensor = _InPlace.apply(x, parts, how)
    return found


def apply_rotary_emb(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    interleaved: bool = False,
    inplace: bool = False,
    seqlen_offsets: int | Tensor = 0,
    cu_seqlens: Tensor | None = None,
    max_seqlen: int | None = None,
) -> Tensor:
    """Turns x (batch, length, heads, head dim), or with cu_seqlens (tokens, heads, head dim).

    cos and sin are (positions, columns): the first 2 * columns elements of each head turn, pairs
    being (c, c + columns), or (2c, 2c + 1) when interleaved. Row t has position seqlen_offsets + t.

    >>> import torch
    >>> angle = torch.arange(5.0)[:, None] * torch.ones(8)
    >>> apply_rotary_emb(torch.ones(2, 5, 4, 16), angle.cos(), angle.sin()).shape
    torch.Size([2, 5, 4, 16])
    """
    if inplace:
        how = _How(interleaved, seqlen_offsets, cu_seqlens, max_seqlen)
        return _in_place(x, [_Part(..., cos, sin)], how)
    return apply_rotary(x, cos, sin, seqlen_offsets, cu_seqlens, max_seqlen, interleaved)


apply_rotary_emb_func = apply_rotary_emb


ApplyRotaryEmb = applied("ApplyRotaryEmb", apply_rotary_emb)


def apply_rotary_emb_qkv_(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    cos_k: Tensor | None = None,
    sin_k: Tensor | None = None,
    interleaved: bool = False,
    seqlen_offsets: int | Tensor = 0,
    num_heads_q: int | None = None,
) -> Tensor:
    """Turns queries and keys of qkv (batch, length, 3, heads, head dim) in place.

    Or of (batch, length, heads + 2 * key heads, head dim), with the number of heads as num_heads_q.
    cos_k and sin_k are for the keys, where these have tables of their own.
    """
    heads = heads_of(qkv, num_heads_q)
    own_k = cos if cos_k is None else cos_k, sin if sin_k is None else sin_k
    if heads is None and cos_k is None and sin_k is None:
        parts = [_Part(_columns(0, 2), cos, sin)]
    else:
        queries, keys = heads or (1, 1)
        own = _Part(_columns(queries, queries + keys), *own_k)
        parts = [_Part(_columns(0, queries), cos, sin), own]
    return _in_place(qkv, parts, _How(interleaved, seqlen_offsets))


ApplyRotaryEmbQKV_ = applied("ApplyRotaryEmbQKV_", apply_rotary_emb_qkv_)


def apply_rotary_emb_kv_(
    kv: Tensor,
    cos: Tensor,
    sin: Tensor,
    interleaved: bool = False,
    seqlen_offsets: int | Tensor = 0,
) -> Tensor:
    """Turns the keys of kv (batch, length, 2, key heads, head dim) in place."""
    require_tensors(kv=kv)
    if kv.dim() != 5 or kv.shape[2] != 2:
        raise RefusedError(
            f"kv has shape {tuple(kv.shape)}; it must be (batch, length, 2, key heads, head dim)."
        )
    return _in_place(kv, [_Part(_columns(0, 1), cos, sin)], _How(interleaved, seqlen_offsets))


ApplyRotaryEmbKV_ = applied("ApplyRotaryEmbKV_", apply_rotary_emb_kv_)


def _columns(start: int, stop: int) -> Any:
    """The index of these places, start to stop, of the third dimension."""
    return (slice(None), slice(None), slice(start, stop))


class RotaryEmbedding(nn.Module):
    """Turns queries and keys by their positions, in place; keeps its tables.

    dim elements of each head turn, pair c by position * base ** (-2 c / dim). With scale_base,
    queries shrink and keys grow with their positions (XPos).

    >>> import torch
    >>> RotaryEmbedding(8)(torch.randn(2, 5, 3, 4, 16)).shape
    torch.Size([2, 5, 3, 4, 16])
    """

    def __init__(
        self,
        dim: int,
        base: float = 10000.0,
        interleaved: bool = False,
        scale_base: float | None = None,
        device: Any = None,
    ) -> None:
        super().__init__()
        self.dim, self.base, self.interleaved = dim, float(base), interleaved
        self.scale_base = scale_base
        self.register_buffer("inv_freq", self._compute_inv_freq(device), persistent=False)
        scale = None
        if scale_base is not None:
            steps = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
            scale = (steps + 0.4 * dim) / (1.4 * dim)
        self.register_buffer("scale", scale, persistent=False)
        self._seq_len_cached = 0
        self._cos_cached: Any = None
        self._sin_cached: Any = None
        self._cos_k_cached: Any = None
        self._sin_k_cached: Any = None

    def _compute_inv_freq(self, device: Any = None) -> Tensor:
        steps = torch.arange(0, self.dim, 2, device=device, dtype=torch.float32)
        return 1.0 / self.base ** (steps / self.dim)

    def _update_cos_sin_cache(self, seqlen: int, device: Any = None, dtype: Any = None) -> None:
        """Makes the tables anew where they are too short, or of another place or type."""
        found = self._cos_cached
        if (
            found is not None
            and seqlen <= self._seq_len_cached
            and found.device == device
            and found.dtype == dtype
            and not (self.training and not is_compiling() and found.is_inference())
        ):
            return
        self._seq_len_cached = seqlen
        # Angles in float32: bfloat16 has not the digits that positions take.
        inverse = self.inv_freq
        if inverse.dtype != torch.float32:
            inverse = self._compute_inv_freq(device)
        position = torch.arange(seqlen, device=device, dtype=torch.float32)
        angle = torch.outer(position, inverse.to(device))
        cos, sin = angle.cos(), angle.sin()
        if self.scale is None:
            self._cos_cached, self._sin_cached = cos.to(dtype), sin.to(dtype)
            return
        power = (position - seqlen // 2) / self.scale_base
        scale = self.scale.to(device=device, dtype=torch.float32) ** power[:, None]
        self._cos_cached, self._sin_cached = (cos * scale).to(dtype), (sin * scale).to(dtype)
        self._cos_k_cached, self._sin_k_cached = (cos / scale).to(dtype), (sin / scale).to(dtype)

    def forward(
        self,
        qkv: Tensor,
        kv: Tensor | None = None,
        seqlen_offset: int | Tensor = 0,
        max_seqlen: int | None = None,
        num_heads_q: int | None = None,
    ) -> Any:
        """qkv as apply_rotary_emb_qkv_ takes it; or queries (batch, length, heads, head dim) with
        kv (batch, length, 2, key heads, head dim). Returns what was written over."""
        length = max_seqlen
        if length is None and isinstance(seqlen_offset, int):
            length = qkv.shape[1] + seqlen_offset
        elif isinstance(seqlen_offset, Tensor) and length is None and self._cos_cached is None:
            length = qkv.shape[1] + int(seqlen_offset.max())
        if length is not None:
            self._update_cos_sin_cache(length, device=qkv.device, dtype=qkv.dtype)
        cos, sin = self._cos_cached, self._sin_cached
        cos_k, sin_k = self._cos_k_cached, self._sin_k_cached
        where = (self.interleaved, seqlen_offset)
        if kv is None:
            return apply_rotary_emb_qkv_(qkv, cos, sin, cos_k, sin_k, *where, num_heads_q)
        q = apply_rotary_emb(qkv, cos, sin, self.interleaved, True, seqlen_offset)
        tables_k = (cos, sin) if cos_k is None else (cos_k, sin_k)
        return q, apply_rotary_emb_kv_(kv, *tables_k, *where)
