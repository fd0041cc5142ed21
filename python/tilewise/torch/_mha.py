"""FlashMHA: multi-head attention as a module, from embeddings to embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tilewise import _forms
from tilewise.attention import attention
from tilewise.options import Diagonal, Window
from tilewise.torch._generation import Cache
from tilewise.torch._mha_inputs import (
    require_cache,
    require_sizes,
    require_tensors,
    require_together,
    rows_that_count,
)
from tilewise.torch._plain import is_grad_enabled
from tilewise.torch._rotation import RotaryEmbedding
from tilewise.torch._slopes import Slopes, chosen_slopes, slopes_on


class FlashMHA(nn.Module):
    """Multi-head attention with its projections: (batch, length, embed_dim) in and out.

    Parameters are Wqkv and out_proj; with cross_attn Wq, Wkv and out_proj. Their names and rows are
    those of flash_attn's MHA and of the older FlashMHA, so weights of either load.

    embed_dim, num_heads: each head has embed_dim / num_heads numbers.
    bias: of all projections; qkv_proj_bias and out_proj_bias set one alone.
    batch_first: must be True; it exists for callers that pass it.
    attention_dropout: the probability that a weight is dropped, in training.
    causal, window, diagonal, softcap, scale: as in tilewise.Options.
    num_heads_kv: fewer heads of keys and values (GQA, MQA); a divisor of num_heads.
    cross_attn: keys and values come from x_kv.
    rotary_dim: how many numbers of each head turn by position; 0: none. rotary_base,
      rotary_interleaved: see RotaryEmbedding.
    alibi_slopes: True for the standard ones, or one number for each head; a Parameter is trained.

    >>> import torch, tilewise
    >>> attention = tilewise.torch.FlashMHA(64, 4, causal=True, num_heads_kv=2, rotary_dim=16)
    >>> attention(torch.randn(2, 10, 64)).shape
    torch.Size([2, 10, 64])
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        bias: bool = True,
        batch_first: bool = True,
        attention_dropout: float = 0.0,
        causal: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        num_heads_kv: int | None = None,
        cross_attn: bool = False,
        qkv_proj_bias: bool | None = None,
        out_proj_bias: bool | None = None,
        window: Window | None = None,
        diagonal: Diagonal = "bottom_right",
        scale: float | None = None,
        softcap: float = 0.0,
        alibi_slopes: Slopes = None,
        rotary_dim: int = 0,
        rotary_base: float = 10000.0,
        rotary_interleaved: bool = False,
    ) -> None:
        super().__init__()
        heads_kv = num_heads if num_heads_kv is None else num_heads_kv
        require_sizes(embed_dim, num_heads, heads_kv, batch_first, attention_dropout)
        self.embed_dim, self.num_heads, self.num_heads_kv = embed_dim, num_heads, heads_kv
        self.head_dim = embed_dim // num_heads
        self.cross_attn, self.causal = cross_attn, causal
        self.attention_dropout = attention_dropout
        self.options: dict[str, Any] = {"causal": causal, "diagonal": diagonal}
        given = {"window": window, "scale": scale, "softcap": softcap or None}
        self.options.update((name, x) for name, x in given.items() if x is not None)
        _forms.ask(self.options)  # refuses what no call would take
        if rotary_dim > self.head_dim:
            raise ValueError(
                f"rotary_dim is {rotary_dim}, but a head has {self.head_dim} numbers to turn."
            )
        self.rotary_emb = (
            RotaryEmbedding(rotary_dim, rotary_base, rotary_interleaved) if rotary_dim else None
        )
        self.alibi_slopes = chosen_slopes(alibi_slopes, num_heads)
        self._slopes: dict[Any, Tensor] = {}
        place = {"device": device, "dtype": dtype}
        has_bias = bias if qkv_proj_bias is None else qkv_proj_bias
        width, width_kv = embed_dim, heads_kv * self.head_dim
        if cross_attn:
            self.Wq = nn.Linear(embed_dim, width, has_bias, **place)
            self.Wkv = nn.Linear(embed_dim, 2 * width_kv, has_bias, **place)
        else:
            self.Wqkv = nn.Linear(embed_dim, width + 2 * width_kv, has_bias, **place)
        has_bias = bias if out_proj_bias is None else out_proj_bias
        self.out_proj = nn.Linear(width, embed_dim, has_bias, **place)

    def forward(
        self,
        x: Tensor,
        x_kv: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        *,
        cache: Cache | None = None,
        offsets: Tensor | None = None,
        longest: int | None = None,
        need_weights: bool | None = None,
    ) -> Any:
        """x is (batch, length, embed_dim), and so is x_kv, of any length, in cross attention.

        key_padding_mask: (batch, keys), True: this key counts. With a cache, (batch, length) of
          what is new, whose True ones must stand together, so that padding is on one side.
        cache: what make_cache returns. x is what comes behind everything in it.
        offsets: x is packed, (tokens, embed_dim), as tilewise.torch.unpad makes it; sequence b owns
          rows offsets[b] to offsets[b + 1], and longest is the longest one's length.
        need_weights: False returns (output, None), as the older FlashMHA did; True is refused.
        """
        if need_weights:
            raise NotImplementedError(
                "need_weights is True, but tilewise never has the weights; "
                "tilewise.attention_probabilities shows them for short sequences."
            )
        require_tensors(x, x_kv, self.embed_dim, self.cross_attn, offsets)
        require_together(x if x_kv is None else x_kv, x_kv, key_padding_mask, cache, offsets)
        if cache is not None:
            require_cache(cache, x, x_kv, self.options, self.training and is_grad_enabled())
        query, key, value = self._project(x, x if x_kv is None else x_kv)
        more = dict(self.options)
        if self.training and self.attention_dropout:
            more["dropout"] = self.attention_dropout
        if self.alibi_slopes is not None:
            more["alibi_slopes"] = slopes_on(x.device, self.alibi_slopes, self._slopes)
        if cache is not None:
            output = self._continue(query, key, value, key_padding_mask, cache, more)
        else:
            query, key = self._rotate(query, key, offsets, longest)
            if key_padding_mask is not None:
                more["mask"] = key_padding_mask.to(torch.bool)[:, None, None, :]
            if offsets is not None:
                more.update(query_offsets=offsets, key_offsets=offsets)
                more.update(max_query_length=longest, max_key_length=longest)
            output = attention(query, key, value, **more)
        output = self.out_proj(output.flatten(-2))
        return output if need_weights is None else (output, None)

    def make_cache(self, batch: int, max_length: int, *, dtype: Any = None) -> Cache:
        """An empty cache for `batch` sequences of at most max_length tokens.

        >>> import torch, tilewise
        >>> attention = tilewise.torch.FlashMHA(64, 4, causal=True).eval()
        >>> x = torch.randn(1, 6, 64)
        >>> cache = attention.make_cache(1, max_length=6)
        >>> with torch.no_grad():
        ...     prompt = attention(x[:, :4], cache=cache)
        ...     steps = [attention(x[:, t : t + 1], cache=cache) for t in (4, 5)]
        ...     whole = attention(x)
        >>> torch.allclose(torch.cat([prompt, *steps], 1), whole, atol=1e-5)
        True
        """
        weight = self.out_proj.weight
        place = {"device": weight.device, "dtype": dtype or weight.dtype}
        return Cache(batch, max_length, self.num_heads_kv, self.head_dim, **place)

    def extra_repr(self) -> str:
        options = (f"{name}={value!r}" for name, value in self.options.items())
        shown = [f"num_heads={self.num_heads}", f"num_heads_kv={self.num_heads_kv}", *options]
        return ", ".join([*shown, f"attention_dropout={self.attention_dropout}"])

    def _project(self, x: Tensor, x_kv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """query, key and value (..., heads, head dim), as views of the projections."""
        width, width_kv = self.embed_dim, self.num_heads_kv * self.head_dim
        if self.cross_attn:
            query = self.Wq(x)
            key, value = self.Wkv(x_kv).split((width_kv, width_kv), -1)
        else:
            query, key, value = self.Wqkv(x).split((width, width_kv, width_kv), -1)
        return (
            query.unflatten(-1, (self.num_heads, self.head_dim)),
            key.unflatten(-1, (self.num_heads_kv, self.head_dim)),
            value.unflatten(-1, (self.num_heads_kv, self.head_dim)),
        )

    def _rotate(
        self, query: Tensor, key: Tensor, offsets: Tensor | None, longest: int | None
    ) -> tuple[Tensor, Tensor]:
        if self.rotary_emb is None:
            return query, key
        sequences: dict[str, Any] = {"offsets": offsets, "max_length": longest}
        return self.rotary_emb(query, **sequences), self.rotary_emb(key, **sequences)

    def _continue(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        cache: Cache,
        more: dict[str, Any],
    ) -> Tensor:
        """Attention of the new rows over the whole cache, to which they are appended."""
        start, end = (None, None) if mask is None else rows_that_count(mask)
        query = query.to(cache.key.dtype)
        rows: dict[str, Any] = {"start": start, "end": end}
        if self.rotary_emb is not None:
            rows["tables"] = self.rotary_emb.tables(cache.max_length, query)
            rows["query"], rows["interleaved"] = query, self.rotary_emb.interleaved
        turned = cache.append(key, value, **rows)
        query = query if turned is None else turned
        more = {**more, "query_start": start, "query_lengths": end, "key_lengths": cache.lengths}
        kind = query.device.type
        if not torch.is_autocast_enabled(kind):
            output = attention(query, cache.key, cache.value, **more)
        else:  # the cache decides on the type: all of it would be cast at each step
            with torch.autocast(kind, enabled=False):
                output = attention(query, cache.key, cache.value, **more)
        return output.to(value.dtype)
