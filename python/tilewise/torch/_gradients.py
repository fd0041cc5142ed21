"""The gradients of eager calls: by the library, or by the operator under modes."""

from __future__ import annotations

from typing import Any

from tilewise._attend import Read, differentiate
from tilewise._call import Operands
from tilewise._forms import Asked
from tilewise.torch import _operators
from tilewise.torch._arrays import TORCH, readable
from tilewise.torch._plain import is_batched, is_grad_enabled, is_plain


def of(operands: Operands, asked: Asked, read: Read, wanted: int, flags: int) -> tuple[Any, ...]:
    """The gradients of query, key, value, bias, slopes and sinks; None for those not wanted."""
    query, key, _ = operands
    is_many = is_batched(read.output_gradient) or is_batched(read.lse_gradient)
    # create_graph=True, is_grads_batched=True, modes and transformations
    if is_grad_enabled() or is_many or not is_plain(read.output_gradient, query, key):
        return _by_operator(operands, asked, read, wanted, flags)
    if read.output_gradient.stride(-1) != 1:  # sum().backward() sends strides of zero
        read = read._replace(output_gradient=readable(read.output_gradient))
    return differentiate(TORCH, operands, asked, read, wanted, flags)


def _by_operator(
    operands: Operands, asked: Asked, read: Read, wanted: int, flags: int
) -> tuple[Any, ...]:
    """The gradients by the operator, which refuses second-order gradients: they would be wrong."""
    flat = _operators.flatten(operands, asked.arrays, asked.scalars, flags)
    found = _operators.backward_operator(
        read.output_gradient, read.lse_gradient, read.output, read.lse, wanted, *flat
    )
    return _operators.spread(found, wanted)[:6]
