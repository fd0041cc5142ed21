"""Conversion between padded batches and packed tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Unpadded(NamedTuple):
    """A batch without its padding.

    tokens (tokens, ...) are the rows that count, one sequence behind the other; indices (tokens)
    says which row of the flattened batch each was; sequence b owns rows offsets[b] to offsets[b+1];
    longest is the length of the longest sequence.
    """

    tokens: Tensor
    indices: Tensor
    offsets: Tensor
    longest: int


def unpad(x: Tensor, mask: Tensor) -> Unpadded:
    """The rows of x (batch, length, ...) where mask (batch, length) is True, packed.

    True, or 1, means: this token counts. Attention over packed tokens takes query_offsets and
    key_offsets; if max_query_length and max_key_length are given, it does not read the offsets:

    >>> import torch, tilewise
    >>> x = torch.randn(2, 4, 8)
    >>> mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    >>> tokens, indices, offsets, longest = tilewise.torch.unpad(x, mask)
    >>> tokens.shape, offsets.tolist(), longest
    (torch.Size([4, 8]), [0, 3, 4], 3)
    >>> query = tokens.unflatten(-1, (2, 4))  # (tokens, heads, dim)
    >>> sequences = {"query_offsets": offsets, "key_offsets": offsets}
    >>> output = tilewise.attention(query, query, query, causal=True, **sequences)
    >>> tilewise.torch.pad(output, indices, 2, 4).shape
    torch.Size([2, 4, 2, 4])

    Gradients go back to x. On a GPU this waits for the number of tokens and the longest length.
    """
    require_tensor("x", x)
    require_tensor("mask", mask)
    if x.dim() < 2 or tuple(mask.shape) != tuple(x.shape[:2]):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)} and x {tuple(x.shape)}; x is (batch, length, ...) "
            "and mask (batch, length)."
        )
    mask = as_mask("mask", mask)
    indices = mask.flatten().nonzero().flatten()
    lengths = mask.sum(1, dtype=torch.int32)
    offsets = torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0))
    longest = int(lengths.max()) if lengths.numel() else 0
    return Unpadded(x.flatten(0, 1).index_select(0, indices), indices, offsets, longest)


def require_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; pass a torch tensor.")


def as_mask(name: str, mask: Tensor) -> Tensor:
    """A mask of bool or integers as bool. Refuses a float mask, which may be meant to be added to
    the scores: there 0 means that a token counts, and in this mask that it does not."""
    if mask.dtype.is_floating_point or mask.dtype.is_complex:
        raise TypeError(
            f"{name} has dtype {str(mask.dtype).removeprefix('torch.')}; it must be bool, where "
            "True means that the token counts. A mask that is added to the scores goes in as "
            f"{name} == 0; 1 and 0 as {name} != 0."
        )
    return mask.to(torch.bool)


def pad(tokens: Tensor, indices: Tensor, batch: int, length: int) -> Tensor:
    """Puts tokens (tokens, ...) back to where unpad found them: (batch, length, ...), else 0.

    >>> import torch, tilewise
    >>> tokens, indices, *_ = tilewise.torch.unpad(torch.ones(1, 3), torch.tensor([[1, 0, 1]]))
    >>> tilewise.torch.pad(tokens, indices, 1, 3).tolist()
    [[1.0, 0.0, 1.0]]
    """
    if tokens.shape[:1] != indices.shape:
        raise ValueError(
            f"tokens has shape {tuple(tokens.shape)} and indices {tuple(indices.shape)}; there is "
            "one index for each token."
        )
    rows = tokens.new_zeros(batch * length, *tokens.shape[1:]).index_copy(0, indices, tokens)
    return rows.unflatten(0, (batch, length))
