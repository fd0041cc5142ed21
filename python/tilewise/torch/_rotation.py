"""Rotary embedding as a module that keeps its tables."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tilewise.cache import rotary
from tilewise.torch._arrays import PLAIN
from tilewise.torch._plain import is_compiling


class RotaryEmbedding(nn.Module):
    """Rotates query and key by their positions; keeps its tables of cosines and sines.

    The first `dim` elements of each head turn, pair c by position * base ** (-2 c / dim). The pairs
    are (c, c + dim / 2), as in GPT-NeoX and Llama, or (2c, 2c + 1) with interleaved=True, as in
    GPT-J. Tables grow with the longest sequence seen and are no part of the state dict. They are
    computed in float64 and kept in float32 (float64 for such an x), whatever the module's type.

    >>> import torch, tilewise
    >>> rotation = tilewise.torch.RotaryEmbedding(8)
    >>> rotation(torch.ones(2, 5, 4, 16)).shape  # (batch, length, heads, head dim)
    torch.Size([2, 5, 4, 16])
    """

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim is {dim}; a rotation turns pairs, so it must be even, from 2.")
        if not base > 0:
            raise ValueError(f"base is {base}; it must be positive.")
        self.dim, self.base, self.interleaved = dim, float(base), interleaved
        self._tables: dict[tuple[Any, Any], tuple[Tensor, Tensor]] = {}

    def forward(
        self,
        x: Tensor,
        positions: Tensor | None = None,
        *,
        offsets: Tensor | None = None,
        max_length: int | None = None,
        max_position: int | None = None,
    ) -> Tensor:
        """x (batch, length, heads, head dim), or with offsets packed (tokens, heads, head dim).

        Row t of sequence b has position t, or positions[b] + t. max_position must be larger than
        every position; without it `positions` is read, and the host waits for a GPU to do so.
        """
        if max_position is None:
            max_position = x.shape[-3] if max_length is None else max_length
            if positions is not None and positions.numel():
                max_position += int(positions.max())
        cosine, sine = self.tables(max_position, x)
        return rotary(
            x,
            cosine,
            sine,
            self.interleaved,
            positions,
            offsets=offsets,
            max_length=max_length,
        )

    def tables(self, length: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of at least `length` positions, for tensors such as `like`."""
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        if is_compiling():
            return self._compute(length, like.device, dtype)
        found = self._tables.get((like.device, dtype))
        if found is None or found[0].shape[0] < length:
            # Kept tables must serve training, too, and tensors made in inference mode cannot.
            with torch.inference_mode(False), torch.no_grad():
                found = self._compute(max(64, 1 << (length - 1).bit_length()), like.device, dtype)
            if type(found[0]) in PLAIN:
                self._tables[like.device, dtype] = found
        return found

    def _compute(self, length: int, device: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        exponents = torch.arange(0, self.dim, 2, device=device, dtype=torch.float64) / self.dim
        position = torch.arange(length, device=device, dtype=torch.float64)
        angle = position[:, None] * self.base**-exponents
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def __getstate__(self) -> dict[str, Any]:
        """The module without its tables, which are quickly made again."""
        return {**self.__dict__, "_tables": {}}

    def extra_repr(self) -> str:
        return f"dim={self.dim}, base={self.base:g}, interleaved={self.interleaved}"
