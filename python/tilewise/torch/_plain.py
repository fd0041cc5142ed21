"""Whether a call may go straight to its tensors' memory, or must pass torch's dispatcher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise.torch._arrays import PLAIN

_function_modes = torch._C._is_torch_function_mode_enabled
_dispatch_modes = torch._C._len_torch_dispatch_stack
_tracing = torch._C._get_tracing_state
_forward_ad = torch.autograd.forward_ad
_profiler = torch.autograd.profiler
_functorch = torch._C._functorch
_kind = _functorch.TransformType
_is_legacy_batched = getattr(_functorch, "is_legacy_batchedtensor", lambda _: False)
is_transformed = torch._C._are_functorch_transforms_active
is_grad_enabled = torch.is_grad_enabled
is_compiling = torch.compiler.is_compiling


def is_plain(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the tensors are plain memory and nothing watches the call: mode, transformation,
    profiler."""
    return (
        type(query) in PLAIN  # not a FakeTensor, nor any other subclass
        and type(key) in PLAIN
        and type(value) in PLAIN
        and not is_watched()
        and not query.is_meta
        # A negation that torch has not carried out yet.
        and not (query.is_neg() or key.is_neg() or value.is_neg())
    )


def is_watched() -> bool:
    """Whether a mode sees operators, or a transformation replaces tensors by wrappers."""
    return bool(
        _dispatch_modes()  # FakeTensorMode, make_fx, FlopCounterMode, checkpoint policies
        or _function_modes()  # set_default_device, users' modes
        or is_transformed()  # vmap, grad, jvp: their wrappers have the type torch.Tensor
        or _tracing() is not None  # torch.jit.trace
        or _forward_ad._current_level >= 0  # dual tensors carry a tangent
        or _profiler._is_profiler_enabled  # so that the call has a name in it
    )


def is_differentiated(function: str) -> bool:
    """Whether a call that torch.func transforms may take an autograd.Function: not under
    torch.func.functionalize, which has no rule for these.

    A call under functionalize takes the operator, also with vmap; with torch.func.grad besides, it
    is refused.
    """
    kinds = [level.key() for level in _functorch.get_interpreter_stack() or ()]
    if _kind.Functionalize not in kinds:
        return True
    if _kind.Grad in kinds or _kind.Jvp in kinds:
        raise NotImplementedError(
            f"tilewise.{function} is called in torch.func.functionalize and torch.func.grad (or "
            "vjp, jvp) at once, for which torch has no rule. Functionalise what takes no such "
            "gradient, and call backward() or torch.autograd.grad outside of it."
        )
    return False


def are_plain(arrays: dict[str, Any]) -> bool:
    """Whether the options' tensors are plain memory."""
    return all(
        not isinstance(array, Tensor) or (type(array) in PLAIN and not array.is_neg())
        for array in arrays.values()
    )


def is_batched(gradient: Tensor | None) -> bool:
    """Whether a gradient comes from is_grads_batched=True: a Tensor without memory of its own."""
    return gradient is not None and bool(_is_legacy_batched(gradient))


def refuse_tangents(*tensors: Any) -> None:
    """Refuses tensors with tangents: forward-mode gradients would be lost silently."""
    if _forward_ad._current_level < 0:
        return
    for tensor in tensors:
        if isinstance(tensor, Tensor) and _forward_ad.unpack_dual(tensor).tangent is not None:
            no_tangents()


def no_tangents(*_: Any) -> Any:
    """Refuses forward mode, for Functions of torch.func, whose tensors hide their tangents."""
    raise NotImplementedError(
        "tilewise has no forward-mode gradients; take reverse mode, torch.autograd.grad."
    )


def refuse_wrapped(function: str, *tensors: Any) -> None:
    """Refuses torch.vmap and torch.func.grad of a function without rules for these."""
    if is_transformed() and any(
        isinstance(tensor, Tensor) and _functorch.is_functorch_wrapped_tensor(tensor)
        for tensor in tensors
    ):
        raise NotImplementedError(
            f"tilewise.{function} is no part of torch.vmap, torch.func.grad and the like; call it "
            "outside of them, with all of a batch at once."
        )


def is_dual() -> bool:
    """Whether a forward-mode level is open, so that tensors may have tangents."""
    return bool(_forward_ad._current_level >= 0)
