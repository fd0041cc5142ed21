"""The gradients of eager calls: from the library at once, or by the operator for who watches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise._attend import Read, differentiate
from tilewise._call import Operands
from tilewise._forms import Asked
from tilewise.torch import _operators
from tilewise.torch._arrays import TORCH, readable
from tilewise.torch._plain import is_batched, is_grad_enabled, is_plain


def of(operands: Operands, asked: Asked, read: Read, wanted: int, flags: int) -> tuple[Any, ...]:
    """Those of query, key, value, bias, slopes and sinks; None for what is not wanted."""
    query, key, _ = operands
    is_many = is_batched(read.output_gradient) or is_batched(read.lse_gradient)
    # create_graph=True, is_grads_batched=True, and whoever watches
    if is_grad_enabled() or is_many or not is_plain(read.output_gradient, query, key):
        return _by_operator(operands, asked, read, wanted, flags)
    if read.output_gradient.stride(-1) != 1:  # sum().backward() sends strides of zero
        read = read._replace(output_gradient=readable(read.output_gradient))
    return differentiate(TORCH, operands, asked, read, wanted, flags)


def _by_operator(
    operands: Operands, asked: Asked, read: Read, wanted: int, flags: int
) -> tuple[Any, ...]:
    """By the operator, whose own gradient refuses: a second order is not silently wrong."""
    options = asked.scalars
    arrays = {name: array for name, array in asked.arrays.items() if isinstance(array, Tensor)}
    if asked.dropout and "dropout_state" not in arrays:
        arrays["dropout_state"] = state_of(asked.arrays, operands.query.device)
    flat = _operators.flatten(operands, arrays, options, flags)
    found = _operators.backward_operator(
        read.output_gradient, read.lse_gradient, read.output, read.lse, wanted, *flat
    )
    return _operators.spread(found, wanted)[:6]


def _signed(number: int) -> int:
    """The same 64 bits as an integer with a sign."""
    return number - 2**64 if number >= 2**63 else number


def state_of(arrays: dict[str, Any], device: torch.device) -> Tensor:
    """A seed and an offset given as numbers, as the tensor that operators take."""
    numbers = [_signed(arrays["seed"]), _signed(arrays.get("dropout_offset", 0))]
    # Filled there: a copy from the host would be waited for.
    parts = [torch.full((1,), number, dtype=torch.int64, device=device) for number in numbers]
    return torch.cat(parts)
