"""Gradients by a node that torch has in C++, which costs a short call half of what one in Python
does.

torch has operators that are attention with gradients, and kernels for one of them on GPUs alone,
and for the other nowhere: that one is there for others to implement. The extension gives both of
them kernels, where torch's own functions never choose them; torch from 2.10 on takes them.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tilewise import _quick

_HERE = "_scaled_dot_product_efficient_attention"  # has a face in Python that costs less
_ANYWHERE = "_scaled_dot_product_fused_attention_overrideable"
_STREAM = "aoti_torch_get_current_cuda_stream"  # in a library of its own
_extension = _quick.extension
_on_cpu: Any = getattr(torch._C._VariableFunctions, _HERE, None)
_is_deterministic = torch.are_deterministic_algorithms_enabled


def attend(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float | None, flags: int
) -> Any:
    """The output of tilewise.sdpa, with gradients. NotImplemented: the call needs more."""
    if not IS_THERE or _is_deterministic() or not _extension.fits(flags, query, key, value):
        return NotImplemented
    try:
        if query.is_cpu:
            return _on_cpu(query, key, value, None, True, 0.0, is_causal, scale=scale)[0]
        if IS_ON_CUDA:
            return _on_device(query, key, value, None, 0.0, is_causal, False, scale=scale)[0]
    except RuntimeError:  # the longer way raises what it means
        pass
    return NotImplemented


def _address(name: str) -> int:
    """Where a function of torch's C face is; 0 for CUDA's where there is none."""
    folder = Path(torch.__file__).parent / "lib"
    library = "libtorch_cuda.so" if name == _STREAM else "libtorch_cpu.so"
    if name == _STREAM and torch.version.cuda is None:
        return 0
    loaded = ctypes.CDLL(str(folder / library))
    if name == _STREAM and not hasattr(loaded, name):
        return 0
    function = getattr(loaded, name)
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _implement() -> tuple[bool, bool]:
    """Gives torch the kernels; whether it took them, and those for CUDA."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    taken = (("CPU", _HERE), ("CPU", _ANYWHERE), ("CUDA", _ANYWHERE))
    try:
        if _extension is None or _on_cpu is None:
            return False, False
        if any(has_kernel(f"aten::{name}{end}", key) for key, name in taken for end in _ENDS):
            return False, False
        addresses = [_address(name) for name in _extension.TORCH_FUNCTIONS]
        _extension.implement(*addresses)
    except (AttributeError, OSError, RuntimeError):  # torch is older, or built otherwise
        return False, False
    return _works(_HERE, None, True, 0.0), addresses[-1] != 0 and _works(_ANYWHERE, None, 0.0)


def _works(name: str, *rest: Any) -> bool:
    """Whether this torch hands over an operator's arguments and results as the kernels expect."""
    with torch.enable_grad():
        values = torch.ones((3, 1, 1, 1, 1), device="cpu", requires_grad=True)
        try:
            output = getattr(torch.ops.aten, name).default(*values, *rest, True, scale=0.5)[0]
            (gradient,) = torch.autograd.grad(2 * output.sum(), values)
        except RuntimeError:
            return False
    return output.tolist() == [[[[1.0]]]] and gradient.flatten().tolist() == [0.0, 0.0, 2.0]


_ENDS = ("", "_backward")
IS_THERE, IS_ON_CUDA = _implement()
# Its function in C: what OpOverload does besides is to call this.
_operator: Any = getattr(torch.ops.aten, _ANYWHERE).default if IS_THERE else None
_on_device: Any = getattr(_operator, "_op", _operator)
