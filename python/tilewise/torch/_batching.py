"""torch.vmap of the operators: one call over a larger batch, if the call is dense and no option is
a tensor, otherwise a call for each slice.

Without this rule torch would make a call for each slice, and warn. Before 2.5 torch takes no rule.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.torch._flat import TENSORS
from tilewise.torch._operators import attention_operator, backward_operator, library

_FIRST_FLAT = 5  # of the backward operator: what comes before the arguments of forward


def _is_foldable(flat: Any, dims: Any) -> bool:
    """Whether slices can be joined to one batch: all dense, and no option is a tensor."""
    ranks = [tensor.dim() - (dim is not None) for tensor, dim in zip(flat[:3], dims[:3])]
    options = flat[3 : 3 + len(TENSORS)]
    return ranks == [4, 4, 4] and all(option is None for option in options)


def _folded(size: int, tensor: Any, dim: int | None) -> Any:
    """All slices of a tensor as one batch."""
    if tensor is None:
        return None
    many = (
        tensor.unsqueeze(0).expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    )
    return many.reshape(size * many.shape[1], *many.shape[2:])


def _unfolded(size: int, tensor: Tensor) -> Tensor:
    return tensor.reshape(size, tensor.shape[0] // size, *tensor.shape[1:])


def _slice(index: int, arguments: Any, dims: Any) -> list[Any]:
    """The arguments of one slice; `dims` has a list for a list of numbers."""
    return [
        x.select(dim, index) if isinstance(x, Tensor) and dim is not None else x
        for x, dim in zip(arguments, dims)
    ]


def _stacked(parts: list[Any]) -> tuple[Any, ...]:
    return tuple(torch.stack(each) for each in zip(*parts))


def _forward(info: Any, dims: Any, *flat: Any) -> Any:
    size = info.batch_size
    if not _is_foldable(flat, dims):
        parts = [attention_operator(*_slice(i, flat, dims)) for i in range(size)]
        return _stacked(parts), (0, 0)
    rows = [_folded(size, x, dim) for x, dim in zip(flat[:3], dims[:3])]
    found = attention_operator(*rows, *flat[3:])
    return tuple(_unfolded(size, x) for x in found), (0, 0)


def _backward(info: Any, dims: Any, *arguments: Any) -> Any:
    size, wanted = info.batch_size, arguments[4]
    if not _is_foldable(arguments[_FIRST_FLAT:], dims[_FIRST_FLAT:]):
        parts = [backward_operator(*_slice(i, arguments, dims)) for i in range(size)]
        return _stacked(parts), (0,) * 6
    count = _FIRST_FLAT + 3
    rows = [
        x if place == 4 else _folded(size, x, dim)
        for place, (x, dim) in enumerate(zip(arguments[:count], dims[:count]))
    ]
    found = backward_operator(*rows, *arguments[count:])
    are_wanted = [wanted >> place & 1 for place in range(6)]
    results = (_unfolded(size, x) if is_wanted else x for x, is_wanted in zip(found, are_wanted))
    return tuple(results), tuple(0 if is_wanted else None for is_wanted in are_wanted)


if hasattr(torch.library, "register_vmap"):  # from 2.5 on
    torch.library.register_vmap("tilewise::attention", _forward, lib=library)
    torch.library.register_vmap("tilewise::attention_backward", _backward, lib=library)
