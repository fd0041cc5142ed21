"""Gradients by torch's own C++ autograd node, which costs a short call half of what a Python node
does.

The extension registers kernels for two of torch's attention operators that have gradients, where
torch has no kernels and its own SDPA does not call them: _scaled_dot_product_efficient_attention on
the CPU, and _scaled_dot_product_fused_attention_overrideable, which is meant for others to
implement, on the CPU and on CUDA. Needs torch 2.10.
"""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise import _quick

_HERE = "_scaled_dot_product_efficient_attention"  # has a face in Python that costs less
_ANYWHERE = "_scaled_dot_product_fused_attention_overrideable"
_ENDS = ("", "_backward")
_KEPT = "taken_by_torch"  # what was found, on the extension
_STREAM = "aoti_torch_get_current_cuda_stream"  # in a library of its own
_OutOfMemory: Any = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)  # from 2.5 on
_extension = _quick.extension
_on_cpu: Any = getattr(torch._C._VariableFunctions, _HERE, None)
_is_deterministic = torch.are_deterministic_algorithms_enabled


class Taken(NamedTuple):
    """Whether torch took the kernels, and for which devices."""

    is_there: bool = False
    is_on_cuda: bool = False
    # With fewer key heads than query heads: whether torch's function for tensors without memory
    # gives the gradients of key and value the key heads, which a compiled backward asserts. Older
    # versions of torch give these gradients the query heads.
    knows_groups: bool = False


def attend(
    query: Tensor, key: Tensor, value: Tensor, is_causal: bool, scale: float | None, flags: int
) -> Any:
    """The output of tilewise.sdpa, with gradients. NotImplemented: the call needs more."""
    if not IS_THERE or _is_deterministic() or not _extension.fits(flags, query, key, value):
        return NotImplemented
    try:
        if query.is_cpu and (KNOWS_GROUPS or query.shape[1] == key.shape[1]):
            return _on_cpu(query, key, value, None, True, 0.0, is_causal, scale=scale)[0]
        if query.is_cpu or IS_ON_CUDA:
            return _on_device(query, key, value, None, 0.0, is_causal, False, scale=scale)[0]
    except RuntimeError as error:
        # A call that the kernels refuse goes the longer way. Two errors go to the caller: out of
        # memory, and an exception of a hook on saved tensors, known by its frame in Python.
        trace = error.__traceback__
        if isinstance(error, _OutOfMemory) or (trace is not None and trace.tb_next is not None):
            raise
    return NotImplemented


def _address(name: str) -> int:
    """The address of a function of torch's C face; 0 for a CUDA function that this torch lacks."""
    folder = Path(torch.__file__).parent / "lib"
    library = "libtorch_cuda.so" if name == _STREAM else "libtorch_cpu.so"
    if name == _STREAM and torch.version.cuda is None:
        return 0
    loaded = ctypes.CDLL(str(folder / library))
    if name == _STREAM and not hasattr(loaded, name):
        return 0
    function = getattr(loaded, name)
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _implement() -> Taken:
    """Registers the kernels and checks that they work."""
    if _on_cpu is None:
        return Taken()
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    taken = (("CPU", _HERE), ("CPU", _ANYWHERE), ("CUDA", _ANYWHERE))
    try:
        if any(has_kernel(f"aten::{name}{end}", key) for key, name in taken for end in _ENDS):
            return Taken()
        addresses = [_address(name) for name in _extension.TORCH_FUNCTIONS]
        _extension.implement(*addresses)
    except (AttributeError, OSError, RuntimeError):  # torch is older, or built otherwise
        return Taken()
    if not (_works(_HERE, None, True, 0.0) and _works(_ANYWHERE, None, 0.0)):
        return Taken()
    return Taken(True, addresses[-1] != 0, _knows_groups())


def _works(name: str, *rest: Any) -> bool:
    """Whether this torch hands over an operator's arguments and results as the kernels expect."""
    try:
        values = torch.ones((3, 1, 1, 1, 1), dtype=torch.float32, device="cpu", requires_grad=True)
        output = getattr(torch.ops.aten, name).default(*values, *rest, True, scale=0.5)[0]
        (gradient,) = torch.autograd.grad(2 * output.sum(), values)
        found = output.flatten().tolist() + gradient.flatten().tolist()
    except (RuntimeError, TypeError):
        return False
    return bool(found == [1.0, 0.0, 0.0, 2.0])


def _knows_groups() -> bool:
    query, key = (torch.empty((1, heads, 1, 1), device="meta") for heads in (2, 1))
    lse, nothing = query[..., 0], query[:0]
    rows = (query, query, key, key, None, query, lse, nothing, nothing)
    backward = getattr(torch.ops.aten, f"{_HERE}_backward").default
    found = backward(*rows, 0.0, [True, True, True, False])
    return bool(found[1].shape == found[2].shape == key.shape)


def _implement_once() -> Taken:
    """Calls _implement at most once, also if the import of tilewise fails later and is repeated,
    because torch keeps the kernels that were registered.

    _implement runs in a new thread, because the first call may come inside of modes, hooks on saved
    tensors, traces or inference mode, all of which belong to the calling thread.
    """
    if _extension is None:
        return Taken()
    if not hasattr(_extension, _KEPT):
        found: list[Taken] = []
        thread = threading.Thread(target=lambda: found.append(_implement()))
        try:
            thread.start()
        except RuntimeError:  # the process ends, or may have no more threads
            return Taken()
        thread.join()
        setattr(_extension, _KEPT, found[0] if found else Taken())
    kept: Taken = getattr(_extension, _KEPT)
    return kept


IS_THERE, IS_ON_CUDA, KNOWS_GROUPS = _implement_once()
# The operator's C function, which is all that OpOverload calls.
_operator: Any = getattr(torch.ops.aten, _ANYWHERE).default if IS_THERE else None
_on_device: Any = getattr(_operator, "_op", _operator)
