"""Gradients by a node that torch has in C++, which costs a short call half of what one in Python
does.

torch has an operator that is attention with gradients and has kernels for GPUs alone,
`aten::_scaled_dot_product_efficient_attention`. The extension gives it, and its backward, kernels
for the processor, which torch's own functions never choose there. torch from 2.10 on takes them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tilewise import _quick

_NAME = "_scaled_dot_product_efficient_attention"
_extension = _quick.extension
_operator: Any = getattr(torch._C._VariableFunctions, _NAME, None)
_is_deterministic = torch.are_deterministic_algorithms_enabled


def attend(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float | None, flags: int
) -> Any:
    """The output of tilewise.sdpa, with gradients. NotImplemented: the call needs more."""
    if IS_THERE and _extension.fits(flags, query, key, value) and not _is_deterministic():
        return _operator(query, key, value, None, True, 0.0, is_causal, scale=scale)[0]
    return NotImplemented


def _implement() -> bool:
    """Gives torch the kernels; whether it took them."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    names = (f"aten::{_NAME}", f"aten::{_NAME}_backward")
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        if _extension is None or any(has_kernel(name, "CPU") for name in names):
            return False
        loaded = ctypes.CDLL(str(library))
        functions = [getattr(loaded, name) for name in _extension.TORCH_FUNCTIONS]
        _extension.implement(
            *(ctypes.cast(function, ctypes.c_void_p).value for function in functions)
        )
    except (AttributeError, OSError, RuntimeError):  # torch is older, or built otherwise
        return False
    return True


IS_THERE = _operator is not None and _implement()
