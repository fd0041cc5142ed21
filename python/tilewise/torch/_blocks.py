"""Attention over chosen blocks of keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _arguments as check
from tilewise.attention import attention


def block_sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Tensor,
    block_size: int | tuple[int, int] = 128,
    *,
    return_lse: bool = False,
    **options: Any,
) -> Any:
    """tilewise.attention in which blocks of queries see the blocks of keys that layout names.

    query, key and value are (batch, length, heads, dim). layout is (heads, query blocks, key
    blocks), bool or numbers; True, or any number but 0: these queries see these keys. It may have 1
    head for all, leave the heads away, or have a batch in front. block_size is the length of a
    block, or that of (queries, keys), multiples of 16; the last block may be shorter. Tiles of
    scores that layout hides whole are not computed, forward or backward. The other options are
    those of tilewise.Options; causal and a window hide more keys.

    >>> import torch, tilewise
    >>> query = key = value = torch.randn(1, 64, 2, 16)
    >>> layout = torch.eye(4).expand(2, 4, 4)  # each block sees itself alone
    >>> output = tilewise.torch.block_sparse_attention(query, key, value, layout, 16)
    >>> torch.allclose(output[:, 16:32], tilewise.attention(*(query[:, 16:32],) * 3), atol=1e-6)
    True
    """
    if "block_mask" in options:
        raise ValueError("layout is what block_mask would be; give one of the two, as layout.")
    sizes = (
        check.sequence("block_size", block_size, 2)
        if isinstance(block_size, (tuple, list))
        else (block_size, block_size)
    )
    rows, columns = (check.integer("block_size", size, low=1) for size in sizes)
    if not isinstance(layout, Tensor):
        raise TypeError(f"layout is a {type(layout).__name__}; pass a torch tensor of bool.")
    if layout.dtype.is_floating_point:
        layout = layout != 0
    if query.dim() == key.dim() == 4:
        _require(layout, query, -(-query.shape[1] // rows), -(-key.shape[1] // columns))
    options["block_mask"] = layout.to(query.device, torch.bool)
    options["block_size"] = (rows, columns)
    return attention(query, key, value, return_lse=return_lse, **options)


def _require(layout: Tensor, query: Tensor, rows: int, columns: int) -> None:
    heads = query.shape[2]
    shape = tuple(layout.shape)
    lead = shape[:-2]
    is_right = 2 <= layout.dim() <= 4 and shape[-2:] == (rows, columns)
    is_right = is_right and (len(lead) < 1 or lead[-1] in (1, heads))
    is_right = is_right and (len(lead) < 2 or lead[0] in (1, query.shape[0]))
    if not is_right:
        raise ValueError(
            f"layout has shape {shape}; for {heads} heads and blocks of this size it is "
            f"({heads}, {rows}, {columns}): (heads, query blocks, key blocks)."
        )
