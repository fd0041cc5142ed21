"""A cache of keys and values for generation, filled in place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.cache import append
from tilewise.torch._plain import is_grad_enabled


class Cache:
    """Keys and values of one attention, for as many positions as it was made for.

    `lengths` (batch) says how many positions of each sequence are filled, `longest` is their upper
    bound, known without asking the device. Each layer has a cache of its own; FlashMHA.make_cache
    makes the right one. It has no gradients: it is for torch.no_grad() and inference_mode().

    >>> import torch, tilewise
    >>> cache = tilewise.torch.Cache(2, 16, num_heads=4, head_dim=8)
    >>> cache.append(torch.ones(2, 3, 4, 8), torch.ones(2, 3, 4, 8))
    >>> cache.lengths.tolist(), cache.longest, cache.max_length
    ([3, 3], 3, 16)
    """

    def __init__(
        self,
        batch: int,
        max_length: int,
        num_heads: int,
        head_dim: int,
        *,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        shape = (batch, max_length, num_heads, head_dim)
        # Tensors made in inference mode could not be written outside of it.
        with torch.inference_mode(False):
            self.key = torch.zeros(shape, device=device, dtype=dtype)
            self.value = torch.zeros(shape, device=device, dtype=dtype)
            self.lengths = torch.zeros(batch, device=device, dtype=torch.int32)
        self.longest = 0

    @property
    def max_length(self) -> int:
        """How many positions of each sequence there is room for."""
        return int(self.key.shape[1])

    def append(
        self,
        key: Tensor,
        value: Tensor,
        *,
        start: Tensor | None = None,
        end: Tensor | None = None,
        query: Tensor | None = None,
        tables: tuple[Tensor, Tensor] | None = None,
        interleaved: bool = False,
    ) -> Tensor | None:
        """Writes key and value (batch, length, heads, head dim) behind what is there.

        With start and end (batch) rows start[b] to end[b] of each sequence count, otherwise all.
        With tables, of cosines and sines, the new keys turn by their positions; a query is turned
        as well, and returned.
        """
        length = key.shape[1]
        self.require_room(length)
        if is_grad_enabled() and (key.requires_grad or value.requires_grad):
            raise ValueError(
                "A cache keeps no gradients, but key or value requires one; call under "
                "torch.no_grad() or torch.inference_mode()."
            )
        cosine, sine = tables or (None, None)
        turned = append(
            key.to(self.key.dtype),
            value.to(self.value.dtype),
            self.key,
            self.value,
            self.lengths,
            key_start=start,
            key_lengths=end,
            cosine=cosine,
            sine=sine,
            interleaved=interleaved,
            query=query,
            query_start=None if query is None else start,
            query_lengths=None if query is None else end,
        )
        self.lengths += (length if end is None else end) - (0 if start is None else start)
        self.longest += length
        return turned

    def require_room(self, length: int) -> None:
        """Refuses `length` more positions if they do not fit."""
        if self.longest + length > self.max_length:
            raise ValueError(
                f"The cache has room for {self.max_length} positions; {self.longest} are taken and "
                f"{length} more do not fit. Make one with a larger max_length, or reset it."
            )

    def reset(self) -> None:
        """Empties the cache and keeps its memory."""
        self.lengths.zero_()
        self.longest = 0
