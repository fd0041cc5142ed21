"""Where the sequences of a call lie, for all versions of flash_attn."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise.flash_attn._meaning import bound_of
from tilewise.flash_attn._refusal import RefusedError, require_tensors


class Layout(NamedTuple):
    """Where each sequence lies, by the names of versions 3 and 4; None for a plain batch."""

    cu_seqlens_q: Tensor | None = None
    cu_seqlens_k: Tensor | None = None
    max_seqlen_q: Any = None
    max_seqlen_k: Any = None
    seqused_q: Tensor | None = None
    seqused_k: Tensor | None = None
    page_table: Tensor | None = None
    leftpad_k: Tensor | None = None
    kv_batch_idx: Tensor | None = None

    def options(self, q: Tensor, k: Tensor) -> dict[str, Any]:
        """The layout as options of tilewise.attention."""
        options: dict[str, Any] = {}
        if self.cu_seqlens_q is not None:
            options["query_offsets"] = self.cu_seqlens_q
            options["max_query_length"] = _longest(self.max_seqlen_q, q)
        if self.page_table is not None:
            options["page_table"] = self.page_table
            options["key_lengths"] = self.key_lengths(k)
        elif self.cu_seqlens_k is not None:
            options["key_offsets"] = self.cu_seqlens_k
            options["max_key_length"] = _longest(self.max_seqlen_k, k)
        tables = {
            "query_lengths": self.seqused_q,
            "key_lengths": self.seqused_k,
            "key_start": self.leftpad_k,
            "cache_batch_index": self.kv_batch_idx,
        }
        options.update((name, table) for name, table in tables.items() if table is not None)
        return options

    def key_lengths(self, k: Tensor) -> Tensor:
        """How many keys each sequence has, packed or in pages."""
        if self.seqused_k is not None:
            return self.seqused_k
        if self.cu_seqlens_k is not None:
            return self.cu_seqlens_k[1:] - self.cu_seqlens_k[:-1]
        assert self.page_table is not None
        batch, columns = self.page_table.shape
        return torch.full((batch,), columns * k.shape[1], dtype=torch.int32, device=k.device)

    def visible_lengths(self, k: Tensor) -> Tensor:
        """How many keys of each sequence count, without padding on the left."""
        lengths = self.key_lengths(k)
        return lengths if self.leftpad_k is None else lengths - self.leftpad_k


def packed(
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: Any,
    max_seqlen_k: Any,
    block_table: Tensor | None = None,
    **more: Any,
) -> Layout:
    """Packed sequences as version 2 has them: both offsets must be there."""
    require_tensors(cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    return Layout(*lengths, page_table=block_table, **more)


def _longest(given: Any, rows: Tensor) -> Any:
    """The longest length, or all rows if unknown: offsets on a GPU are not read."""
    bound = bound_of(given, rows.shape[0])
    return rows.shape[0] if bound is None and rows.is_cuda else bound


def parts_of(name: str, packed: Tensor, rank: int, count: int) -> tuple[Tensor, ...]:
    """The tensors that lie packed in one tensor, as views."""
    require_tensors(**{name: packed})
    if packed.dim() != rank or packed.shape[-3] != count:
        raise RefusedError(
            f"{name} has shape {tuple(packed.shape)}; it must have {rank} dimensions, and {count} "
            "in the third from the end."
        )
    parts: tuple[Tensor, ...] = packed.unbind(-3)
    return parts


def heads_of(qkv: Tensor, num_heads_q: int | None) -> tuple[int, int] | None:
    """(heads, key heads) of qkv (batch, length, heads + 2 * key heads, head dim); None where qkv is
    (batch, length, 3, heads, head dim)."""
    require_tensors(qkv=qkv)
    if qkv.dim() == 5 and qkv.shape[2] == 3:
        return None
    if qkv.dim() != 4 or num_heads_q is None:
        raise RefusedError(
            f"qkv has shape {tuple(qkv.shape)}; it must be (batch, length, 3, heads, head dim), or "
            "with num_heads_q (batch, length, heads + 2 * key heads, head dim)."
        )
    key_heads, rest = divmod(qkv.shape[2] - num_heads_q, 2)
    if rest or key_heads < 1 or num_heads_q < 0:
        raise RefusedError(
            f"qkv has {qkv.shape[2]} heads and num_heads_q is {num_heads_q}, which must be at "
            "least 0 and leave an even number of heads, at least 2, for keys and values."
        )
    return num_heads_q, key_heads
