"""FlashMHA: multi-head attention as a module, from embeddings to embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tilewise.attention import attention
from tilewise.options import Diagonal, Window
from tilewise.torch._generation import Cache
from tilewise.torch._plain import is_grad_enabled
from tilewise.torch._rotation import RotaryEmbedding


def standard_slopes(heads: int) -> list[float]:
    """ALiBi's slopes as its authors chose them: powers of 2 ** (-8 / heads).

    Where heads is no power of two, those of the power below come first, then every other one of the
    power above.

    >>> from tilewise.torch import standard_slopes
    >>> standard_slopes(4)
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    below = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * (each + 1) / below) for each in range(below)]
    above = [2.0 ** (-8 * (each + 1) / (2 * below)) for each in range(0, 2 * below, 2)]
    return slopes + above[: heads - below]


class FlashMHA(nn.Module):
    """Multi-head attention with its projections: (batch, length, embed_dim) in and out.

    Parameters are Wqkv and out_proj; with cross_attn Wq, Wkv and out_proj. Their names and rows are
    those of flash_attn's MHA and of the older FlashMHA, so weights of either load.

    embed_dim, num_heads: each head has embed_dim / num_heads numbers.
    bias: of all projections; qkv_proj_bias and out_proj_bias set one alone.
    batch_first: True; there for callers who say so.
    attention_dropout: the probability that a weight is dropped, in training.
    causal, window, diagonal, softcap, scale: as in tilewise.Options.
    num_heads_kv: fewer heads of keys and values (GQA, MQA); a divisor of num_heads.
    cross_attn: keys and values come from x_kv.
    rotary_dim: how many numbers of each head turn by position; 0: none. rotary_base,
      rotary_interleaved: see RotaryEmbedding.
    alibi_slopes: True for the standard ones, or one number for each head; an nn.Parameter learns.

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
        alibi_slopes: bool | Sequence[float] | Tensor | None = None,
        rotary_dim: int = 0,
        rotary_base: float = 10000.0,
        rotary_interleaved: bool = False,
    ) -> None:
        super().__init__()
        heads_kv = num_heads if num_heads_kv is None else num_heads_kv
        _require_sizes(embed_dim, num_heads, heads_kv, batch_first, attention_dropout)
        self.embed_dim, self.num_heads, self.num_heads_kv = embed_dim, num_heads, heads_kv
        self.head_dim = embed_dim // num_heads
        self.cross_attn, self.causal = cross_attn, causal
        self.attention_dropout = attention_dropout
        self.options: dict[str, Any] = {"causal": causal, "diagonal": diagonal}
        given = {"window": window, "scale": scale, "softcap": softcap or None}
        self.options.update((name, x) for name, x in given.items() if x is not None)
        if rotary_dim > self.head_dim:
            raise ValueError(
                f"rotary_dim is {rotary_dim}, but a head has {self.head_dim} numbers to turn."
            )
        self.rotary_emb = (
            RotaryEmbedding(rotary_dim, rotary_base, rotary_interleaved) if rotary_dim else None
        )
        self.alibi_slopes: Any
        self._keep_slopes(alibi_slopes)
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
        self._require_inputs(x, x_kv, key_padding_mask, cache, offsets)
        query, key, value = self._project(x, x if x_kv is None else x_kv)
        more = dict(self.options)
        if self.training and self.attention_dropout:
            more["dropout"] = self.attention_dropout
        if self.alibi_slopes is not None:
            more["alibi_slopes"] = self._slopes(x)
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

    def _keep_slopes(self, given: Any) -> None:
        """A parameter stays one; numbers are float32 whatever type the module is taken to."""
        self._slopes_there: dict[Any, Tensor] = {}
        if given is None or given is False:
            self.alibi_slopes = None
        elif isinstance(given, nn.Parameter):
            self.alibi_slopes = given
        elif given is True:
            self.alibi_slopes = standard_slopes(self.num_heads)
        else:
            self.alibi_slopes = [float(slope) for slope in given]
        if self.alibi_slopes is not None and len(self.alibi_slopes) != self.num_heads:
            raise ValueError(
                f"alibi_slopes has {len(self.alibi_slopes)} numbers; there are {self.num_heads} "
                "heads, and each has one."
            )

    def _slopes(self, x: Tensor) -> Tensor:
        if isinstance(self.alibi_slopes, Tensor):
            return self.alibi_slopes
        found = self._slopes_there.get(x.device)
        if found is None:
            with torch.inference_mode(False):
                found = torch.tensor(self.alibi_slopes, dtype=torch.float32, device=x.device)
            if not torch.compiler.is_compiling():
                self._slopes_there[x.device] = found
        return found

    def _project(self, x: Tensor, x_kv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """query, key and value (..., heads, head dim), views of what the projections made."""
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
        """Attention of what is new over all that there is, itself included."""
        cache.require_room(query.shape[1])
        start, end = (None, None) if mask is None else _rows(mask)
        query = query.to(cache.key.dtype)
        rows: dict[str, Any] = {"start": start, "end": end}
        if self.rotary_emb is not None:
            rows["tables"] = self.rotary_emb.tables(cache.max_length, query)
            rows.update(query=query, interleaved=self.rotary_emb.interleaved)
        turned = cache.append(key, value, **rows)
        query = query if turned is None else turned
        more.update(query_start=start, query_lengths=end, key_lengths=cache.lengths)
        output = attention(query, cache.key, cache.value, **more)
        return output.to(value.dtype)

    def _require_inputs(
        self,
        x: Tensor,
        x_kv: Tensor | None,
        mask: Tensor | None,
        cache: Cache | None,
        offsets: Tensor | None,
    ) -> None:
        rank = 3 if offsets is None else 2
        shape = "(batch, length, embed_dim)" if offsets is None else "(tokens, embed_dim)"
        for name, tensor in (("x", x), ("x_kv", x_kv)):
            if tensor is None:
                continue
            if tensor.dtype == torch.bool:
                raise TypeError(f"{name} is a bool tensor; pass a mask as key_padding_mask=.")
            if tensor.dim() != rank or tensor.shape[-1] != self.embed_dim:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}; it must be {shape}, with embed_dim "
                    f"{self.embed_dim}."
                )
        if x_kv is not None and not self.cross_attn:
            raise ValueError("x_kv is given, but this FlashMHA was made without cross_attn=True.")
        if offsets is not None and (x_kv is not None or mask is not None or cache is not None):
            raise ValueError(
                "offsets are given together with x_kv, key_padding_mask or a cache; packed tokens "
                "have no padding, and for the others call tilewise.attention yourself."
            )
        if mask is not None:
            keys = x if x_kv is None else x_kv
            if tuple(mask.shape) != tuple(keys.shape[:2]):
                raise ValueError(
                    f"key_padding_mask has shape {tuple(mask.shape)}; it must be (batch, keys), "
                    f"{tuple(keys.shape[:2])}. True: this key counts."
                )
        if cache is not None:
            self._require_cache(x, x_kv, cache)

    def _require_cache(self, x: Tensor, x_kv: Tensor | None, cache: Cache) -> None:
        window = self.options.get("window")
        right = 0 if self.causal else window[1] if window else None
        is_causal = right is not None and right <= 0
        if x_kv is not None or not is_causal or self.options["diagonal"] != "bottom_right":
            raise ValueError(
                "A cache is for self-attention with causal=True and the bottom-right diagonal, "
                "where what comes later changes nothing before it."
            )
        if self.training and is_grad_enabled():
            raise ValueError(
                "A cache is for generation and keeps no gradients; call eval(), and call under "
                "torch.no_grad() or torch.inference_mode()."
            )
        if cache.key.shape[0] != x.shape[0]:
            raise ValueError(
                f"The cache holds {cache.key.shape[0]} sequences, and x has {x.shape[0]}; they "
                "must be the same number."
            )


def _rows(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each sequence that counts, and the one behind the last."""
    mask = mask.to(torch.bool)
    start = mask.to(torch.int8).argmax(1).to(torch.int32)
    end = start + mask.sum(1, dtype=torch.int32)
    place = torch.arange(mask.shape[1], device=mask.device, dtype=torch.int32)
    together = (place >= start[:, None]) & (place < end[:, None])
    if not torch.equal(together, mask):
        raise ValueError(
            "key_padding_mask has a gap between tokens that count; with a cache its True ones must "
            "stand together, with padding before or behind them."
        )
    return start, end


def _require_sizes(
    embed_dim: int, heads: int, heads_kv: int, batch_first: bool, dropout: float
) -> None:
    if heads < 1 or embed_dim < 1 or embed_dim % heads:
        raise ValueError(
            f"embed_dim is {embed_dim} and num_heads {heads}; embed_dim must be a multiple of "
            "num_heads, which is its number of heads."
        )
    if heads_kv < 1 or heads % heads_kv:
        raise ValueError(f"num_heads_kv is {heads_kv}; it must divide num_heads, which is {heads}.")
    if not batch_first:
        raise ValueError(
            "batch_first is False; FlashMHA takes (batch, length, embed_dim). Pass x.transpose(0, "
            "1), and transpose what comes back."
        )
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"attention_dropout is {dropout}; it must lie in [0, 1).")
