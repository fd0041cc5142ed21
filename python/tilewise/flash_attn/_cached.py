"""flash_attn_with_kvcache: attention over a cache, to which new keys and values are appended."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise.attention import attention
from tilewise.cache import append, rotary
from tilewise.flash_attn._meaning import (
    Turn,
    Wanted,
    cached_diagonals,
    has_turn,
    require_floats,
    to_theirs,
    window_of,
)
from tilewise.flash_attn._refusal import (
    CACHED,
    OVER_A_CACHE,
    Names,
    RefusedError,
    asking,
    require_tensors,
)
from tilewise.torch._plain import is_compiling


class Cache(NamedTuple):
    """The caches, and where in them each sequence lies."""

    k_cache: Tensor
    v_cache: Tensor
    seqlens: Tensor
    batch_idx: Tensor | None = None
    leftpad: Tensor | None = None
    block_table: Tensor | None = None

    def options(self, key_lengths: Tensor) -> dict[str, Any]:
        options: dict[str, Any] = {"key_lengths": key_lengths}
        if self.batch_idx is not None:
            options["cache_batch_index"] = self.batch_idx
        if self.leftpad is not None:
            options["key_start"] = self.leftpad
        if self.block_table is not None:
            options["page_table"] = self.block_table
        return options


class Rotation(NamedTuple):
    """Tables of cosines and sines. positions: the position of each sequence's first new row; by
    default the length of its cache. is_fixed: all queries rotate as the first one does."""

    cos: Tensor
    sin: Tensor
    interleaved: bool
    is_fixed: bool
    positions: Tensor | None = None


class Queries(NamedTuple):
    """New queries, and the offsets of packed ones."""

    q: Tensor
    offsets: Tensor | None = None
    longest: Any = None

    @property
    def batch(self) -> Any:
        return self.q.shape[0] if self.offsets is None else self.offsets.shape[0] - 1

    def options(self) -> dict[str, Any]:
        if self.offsets is None:
            return {}
        return {"query_offsets": self.offsets, "max_query_length": self.longest}


class New(NamedTuple):
    """New keys and values, and the offsets of packed ones."""

    k: Tensor
    v: Tensor
    offsets: Tensor | None = None

    def lengths(self) -> Any:
        return self.k.shape[1] if self.offsets is None else self.offsets[1:] - self.offsets[:-1]


def place_of(
    caches: tuple[Tensor, Tensor],
    cache_seqlens: Any,
    batch: Any,
    has_new: bool,
    batch_idx: Tensor | None,
    leftpad: Tensor | None,
    block_table: Tensor | None,
    names: Names = CACHED,
) -> Cache:
    """The cache of a call, with lengths as a tensor."""
    k_cache, v_cache = caches
    require_tensors(k_cache=k_cache, v_cache=v_cache)
    device = k_cache.device
    if cache_seqlens is None:
        if has_new:
            raise RefusedError(
                f"{names['key']} is given without {names['lengths']}, which say behind how many "
                "keys it belongs."
            )
        capacity = k_cache.shape[1]
        if block_table is not None:
            capacity = block_table.shape[1] * capacity
        cache_seqlens = capacity
    cache_seqlens = lengths_of(cache_seqlens, batch, device)
    if block_table is None and batch_idx is None and k_cache.shape[0] > batch:
        k_cache, v_cache = k_cache[:batch], v_cache[:batch]
    return Cache(k_cache, v_cache, cache_seqlens, batch_idx, leftpad, block_table)


def lengths_of(cache_seqlens: Any, batch: Any, device: Any) -> Tensor:
    """A length for each sequence; one number stands for all."""
    if isinstance(cache_seqlens, Tensor):
        return cache_seqlens
    if isinstance(cache_seqlens, float) or not hasattr(cache_seqlens, "__index__"):
        raise RefusedError(f"cache_seqlens is {cache_seqlens!r}; pass an integer or a tensor.")
    if not is_compiling() and abs(cache_seqlens) >= 2**31:
        raise RefusedError(f"cache_seqlens is {cache_seqlens}; no cache is that long.")
    return torch.full((batch,), cache_seqlens, dtype=torch.int32, device=device)


def extend(
    cache: Cache,
    queries: Queries,
    new: New | None,
    rotation: Rotation | None,
    names: Names = CACHED,
) -> tuple[Tensor, Tensor]:
    """Appends new keys and values. Returns the queries, rotated if asked, and the new lengths."""
    q, lengths = queries.q, cache.seqlens
    if new is None:
        if rotation is not None:
            raise RefusedError(
                f"rotary_cos is given without {names['key']} and {names['value']}; the cache's own "
                "keys are turned already. Pass what is to be appended as well."
            )
        return q, lengths
    _require_matching(cache, new, names)
    given: dict[str, Any] = {
        "page_table": cache.block_table,
        "cache_batch_index": cache.batch_idx,
        "key_offsets": new.offsets,
        "max_key_length": None if new.offsets is None else new.k.shape[0],
    }
    k, turned = new.k, q
    if rotation is not None and rotation.positions is None:
        given.update(
            cosine=rotation.cos,
            sine=rotation.sin,
            interleaved=bool(rotation.interleaved),
            query=q,
            query_offsets=queries.offsets,
            max_query_length=queries.longest,
            fixed_query=rotation.is_fixed,
            out=_in_fp8(q),
        )
    elif rotation is not None:
        tables = (rotation.cos, rotation.sin, bool(rotation.interleaved), rotation.positions)
        k = asking(
            rotary,
            k,
            *tables,
            offsets=new.offsets,
            max_length=given["max_key_length"],
            out=_in_fp8(k),
            names=_of_rotation(names, "key"),
        )
        packed = {"offsets": queries.offsets, "max_length": queries.longest, "out": _in_fp8(q)}
        packed["names"] = _of_rotation(names, "query")
        turned = asking(rotary, q, *tables, fixed=rotation.is_fixed, **packed)
    rows = (k, new.v, cache.k_cache, cache.v_cache)
    found = asking(append, *rows, lengths, names=names, **given)
    return turned if found is None else found, lengths + new.lengths()


def _require_matching(cache: Cache, new: New, names: Names) -> None:
    """Refuses new rows whose number of heads or type is not that of the cache. tilewise.append
    would convert the type."""
    for ours, x, kept in (("key", new.k, cache.k_cache), ("value", new.v, cache.v_cache)):
        if x.dtype != kept.dtype:
            one, other = (str(each).partition(".")[2] for each in (x.dtype, kept.dtype))
            raise RefusedError(
                f"{names[ours]} is {one} but {names[f'{ours}_cache']} is {other}: they must share "
                "one type."
            )
        if min(x.dim(), kept.dim()) > 1 and x.shape[-2] != kept.shape[-2]:
            raise RefusedError(
                f"{names[ours]} has a head count of {x.shape[-2]}, {names[f'{ours}_cache']} of "
                f"{kept.shape[-2]}: they must be equal."
            )


def _of_rotation(names: Names, turned: str) -> Names:
    offsets = names[f"{turned}_offsets"]
    more = {"input": names[turned], "offsets": offsets, "positions": "seqlens_rotary"}
    return {**names, **more}


def _in_fp8(x: Tensor) -> Tensor | None:
    """An output for the rotation of an FP8 x, which would otherwise be bfloat16."""
    return torch.zeros_like(x) if x.dtype.itemsize == 1 else None


def require_new(
    k: Tensor | None, v: Tensor | None, offsets: Tensor | None = None, names: Names = CACHED
) -> New | None:
    """The keys and values to append; None without any."""
    key, value = names["key"], names["value"]
    if (k is None) != (v is None):
        raise RefusedError(f"Of {key} and {value} only one is given; pass both, or neither.")
    if k is None or v is None:
        return None
    require_tensors(**{key: k, value: v})
    return New(k, v, offsets)


def require_tables(cos: Tensor | None, sin: Tensor | None) -> None:
    if (cos is None) != (sin is None):
        raise RefusedError("Of rotary_cos and rotary_sin only one is given; pass both, or neither.")


def flash_attn_with_kvcache(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    rotary_cos: Tensor | None = None,
    rotary_sin: Tensor | None = None,
    cache_seqlens: int | Tensor | None = None,
    cache_batch_idx: Tensor | None = None,
    cache_leftpad: Tensor | None = None,
    block_table: Tensor | None = None,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    rotary_interleaved: bool = True,
    alibi_slopes: Tensor | None = None,
    num_splits: int = 0,
    return_softmax_lse: bool = False,
    *,
    s_aux: Tensor | None = None,
) -> Any:
    """Attention of q (batch, queries, heads, head dim) over a cache, in place.

    k and v (batch, new, key heads, head dim) are written behind the first cache_seqlens keys of
    k_cache and v_cache, and the queries see them, too. k_cache and v_cache are (rows, capacity, key
    heads, head dim); with block_table (batch, pages) they are (pages, page size, key heads, head
    dim). With rotary_cos and rotary_sin new keys and queries turn by their positions. num_splits
    changes nothing. The results have no gradients.

    >>> import torch
    >>> from tilewise.flash_attn import flash_attn_with_kvcache
    >>> k_cache, v_cache = torch.zeros(2, 1, 8, 4, 16)
    >>> q = k = v = torch.ones(1, 1, 4, 16)
    >>> flash_attn_with_kvcache(q, k_cache, v_cache, k, v, cache_seqlens=3).shape
    torch.Size([1, 1, 4, 16])
    >>> k_cache[0, :, 0, 0].tolist()
    [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """
    require_floats("q", q)
    require_tables(rotary_cos, rotary_sin)
    options = Wanted(
        softmax_scale=softmax_scale,
        causal=causal,
        window_size=window_size,
        softcap=softcap,
        alibi_slopes=alibi_slopes,
        sinks=s_aux,
    ).options()
    with torch.no_grad():
        new = require_new(k, v)
        where = (cache_batch_idx, cache_leftpad, block_table)
        caches = (k_cache, v_cache)
        cache = place_of(caches, cache_seqlens, q.shape[0], new is not None, *where)
        rotation = None
        if rotary_cos is not None and rotary_sin is not None:
            is_fixed = window_of(window_size, causal) == (None, None)
            rotation = Rotation(rotary_cos, rotary_sin, rotary_interleaved, is_fixed)
        turned, lengths = extend(cache, Queries(q), new, rotation)
        options.update(cache.options(lengths))
        rows = (turned, cache.k_cache, cache.v_cache)
        if not return_softmax_lse:
            return asking(attention, *rows, names=OVER_A_CACHE, **options)
        out, lse = asking(attention, *rows, return_lse=True, names=OVER_A_CACHE, **options)
        turn = None
        if has_turn(alibi_slopes, window_size, causal, None):
            visible = lengths if cache_leftpad is None else lengths - cache_leftpad
            turn = Turn(alibi_slopes, cached_diagonals(q.shape[1], visible))
        return out, to_theirs(lse, turn)
