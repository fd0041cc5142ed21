"""What FlashMHA refuses, and the rows that a padding mask leaves."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _arguments as check
from tilewise.torch._generation import Cache
from tilewise.torch._packing import as_mask, require_tensor


def require_tensors(
    x: Tensor, x_kv: Tensor | None, embed_dim: int, cross_attn: bool, offsets: Tensor | None
) -> None:
    """Refuses x or x_kv whose shape does not fit the module."""
    rank = 3 if offsets is None else 2
    shape = "(batch, length, embed_dim)" if offsets is None else "(tokens, embed_dim)"
    for name, tensor in (("x", x), ("x_kv", x_kv)):
        if tensor is None:
            continue
        require_tensor(name, tensor)
        if tensor.dtype == torch.bool:
            raise TypeError(f"{name} is a bool tensor; pass a mask as key_padding_mask=.")
        if tensor.dim() != rank or tensor.shape[-1] != embed_dim:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}; it must be {shape}, with embed_dim "
                f"{embed_dim}."
            )
    if x_kv is not None and not cross_attn:
        raise ValueError("x_kv is given, but this FlashMHA was made without cross_attn=True.")


def require_together(
    keys: Tensor,
    x_kv: Tensor | None,
    mask: Tensor | None,
    cache: Cache | None,
    offsets: Tensor | None,
) -> None:
    """Refuses arguments that exclude each other."""
    if offsets is not None and (x_kv is not None or mask is not None or cache is not None):
        raise ValueError(
            "offsets are given together with x_kv, key_padding_mask or a cache; packed tokens "
            "have no padding, and for the others call tilewise.attention yourself."
        )
    if mask is None:
        return
    require_tensor("key_padding_mask", mask)
    if tuple(mask.shape) != tuple(keys.shape[:2]):
        raise ValueError(
            f"key_padding_mask has shape {tuple(mask.shape)}; it must be (batch, keys), "
            f"{tuple(keys.shape[:2])}. True: this key counts."
        )
    as_mask("key_padding_mask", mask)


def require_cache(
    cache: Cache, x: Tensor, x_kv: Tensor | None, options: dict[str, Any], is_learning: bool
) -> None:
    """Refuses a call with a cache whose result would differ from that of one whole call."""
    window = options.get("window")
    right = 0 if options["causal"] else window[1] if window else None
    is_causal = right is not None and right <= 0
    if x_kv is not None or not is_causal or options["diagonal"] != "bottom_right":
        raise ValueError(
            "A cache is for self-attention with causal=True and the bottom-right diagonal, "
            "where what comes later changes nothing before it."
        )
    if is_learning:
        raise ValueError(
            "A cache is for generation and keeps no gradients; call eval(), and call under "
            "torch.no_grad() or torch.inference_mode()."
        )
    if cache.key.shape[0] != x.shape[0]:
        raise ValueError(
            f"The cache holds {cache.key.shape[0]} sequences, and x has {x.shape[0]}; they "
            "must be the same number."
        )


def rows_that_count(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The first row of each sequence that counts, and the row behind its last."""
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


def require_sizes(
    embed_dim: int, heads: int, heads_kv: int, batch_first: bool, dropout: float
) -> None:
    sizes = {"embed_dim": embed_dim, "num_heads": heads, "num_heads_kv": heads_kv}
    for name, size in sizes.items():
        check.integer(name, size)
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
