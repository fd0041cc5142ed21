"""torch's tensors as a Framework of tilewise._frameworks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _dtypes, _frameworks, _quick
from tilewise._frameworks import CPU, CUDA, Fill, Framework, View

# The exact types that are nothing more than their memory, unlike subclasses.
PLAIN = frozenset((Tensor, torch.nn.Parameter))
_is_of_functorch = torch._C._functorch.is_functorch_wrapped_tensor

CODES: dict[torch.dtype, int] = {
    getattr(torch, name): code for name, code in _dtypes.CODES.items() if hasattr(torch, name)
}
DTYPES: dict[int, torch.dtype] = {code: dtype for dtype, code in CODES.items()}


class Torch(Framework):
    """torch.Tensor on the processor and on NVIDIA GPUs, on the stream that torch works on."""

    article, maker, family = "a torch tensor", "torch.as_tensor", 1
    wide_integer = "int64"  # torch's generator has these; the bits count
    # Absent from builds without CUDA.
    raw_stream = staticmethod(getattr(torch._C, "_cuda_getCurrentRawStream", None) or (lambda _: 0))
    threads = staticmethod(torch.get_num_threads)

    def is_array(self, value: object) -> bool:
        return isinstance(value, Tensor)

    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        if type(value) not in PLAIN:
            raise TypeError(
                f"{name} is a {type(value).__name__}, a tensor that may be more than its memory; "
                "pass a torch.Tensor."
            )
        self.check_layout(name, value)
        if value.device.type not in ("cpu", "cuda"):
            raise NotImplementedError(
                f"{name} lies on {value.device}; tilewise runs on the processor and on NVIDIA GPUs."
            )
        if is_written and value.is_neg():
            raise ValueError(
                f"{name} is a view that negates what memory holds, and cannot be written; pass "
                f"{name}.resolve_neg(), and copy from it afterwards."
            )
        if is_written and value.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                f"{name} requires a gradient, which nothing that is written into has; pass "
                f"{name}.detach(), or call under torch.no_grad()."
            )

    def check_layout(self, name: str, value: Any) -> None:
        """Refuses a tensor without strides, on which torch's own messages are hard to read."""
        if value.layout is not torch.strided or value.is_nested or value.is_quantized:
            kind = "nested" if value.is_nested else "quantised" if value.is_quantized else "sparse"
            raise TypeError(
                f"{name} is a {kind} tensor; pass a strided one. Sequences of different lengths go "
                "into one tensor with query_offsets and key_offsets."
            )

    def code(self, value: Any) -> int:
        return CODES.get(value.dtype, 0)

    def dtype_name(self, value: Any) -> str:
        return str(value.dtype).partition(".")[2]

    def dtype_code(self, name: str, dtype: Any) -> int:
        code = CODES.get(dtype, 0) if isinstance(dtype, torch.dtype) else 0
        if code not in _dtypes.FLOAT_CODES:
            raise TypeError(
                f"{name} is {dtype!r}; it must be one of torch's types "
                f"{', '.join(_dtypes.FLOATS)}, for example torch.float32."
            )
        return code

    def device(self, value: Any) -> tuple[int, int]:
        index = value.get_device()
        return (CPU, 0) if index < 0 else (CUDA, index)

    def view(self, value: Any) -> View | None:
        shape, strides = tuple(value.shape), value.stride()
        if not _is_held(value, shape, strides):
            return View(0, shape, strides)
        is_contiguous = not shape or shape[-1] <= 1 or strides[-1] == 1
        if value.is_neg() or value.is_conj() or value._is_zerotensor():
            return None
        if not (is_contiguous or value.numel() == 0):
            return None
        return View(value.data_ptr(), shape, strides)

    def copied(self, value: Any, code: int = 0) -> Any:
        value = value.detach().resolve_neg().contiguous()
        if value._is_zerotensor():  # has no memory, and stands for zeros
            value = torch.zeros(value.shape, dtype=value.dtype, device=value.device)
        return value.to(DTYPES[code]) if code else value

    def asarray(self, name: str, value: Any, like: Any) -> Any:
        if isinstance(value, Tensor):
            return value
        if hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
            raise TypeError(
                f"{name} is a {type(value).__name__}, but query is a torch tensor; the arrays of "
                f"one call must be of one framework. Pass torch.as_tensor({name})."
            )
        try:
            if isinstance(value, (list, tuple)) and not value:  # torch would make floats of it
                return torch.empty(0, dtype=torch.int64, device=like.device)
            return _on_device(value, like)
        except (RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name} is a {type(value).__name__}, of which torch makes no tensor ({error}); "
                "pass a torch tensor."
            ) from None

    def make(self, like: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:
        dtype, device = DTYPES[code], like.device
        if fill == Fill.NOTHING:
            return torch.empty(shape, dtype=dtype, device=device)
        if fill == Fill.ZERO:
            return torch.zeros(shape, dtype=dtype, device=device)
        return torch.full(shape, -float("inf"), dtype=dtype, device=device)

    def empty_like(self, value: Any) -> Any:
        """A new tensor with new_like's strides, as the extension makes it and compilers assert."""
        return new_like(value, value.shape, value.dtype)

    def swapped(self, value: Any) -> Any:
        require_held(value)
        return value.swapaxes(1, 2)

    def strides(self, value: Any) -> Any:
        return value.stride()

    def is_wide_integer(self, value: Any) -> bool:
        return str(value.dtype) in ("torch.int64", "torch.uint64")

    def is_contiguous(self, value: Any) -> bool:
        return bool(value.is_contiguous())

    def refuse_gradients(self, function: str, **values: Any) -> None:
        """Refuses tensors that require a gradient in a function without gradients for them."""
        if not torch.is_grad_enabled():
            return
        for name, value in values.items():
            if isinstance(value, Tensor) and value.requires_grad:
                raise NotImplementedError(
                    f"{name} requires a gradient, which tilewise.{function} does not give it; pass "
                    f"{name}.detach(), or call under torch.no_grad()."
                )

    def note_written(self, *values: Any) -> None:
        """Raises the tensors' versions, so that backward refuses a saved tensor written here."""
        for value in values:
            if isinstance(value, Tensor) and not value.is_inference():
                torch.autograd.graph.increment_version(value)

    def stream(self, index: int) -> int | None:
        return int(self.raw_stream(index))

    def numbers(self, value: Any) -> list[int] | None:
        return None if value.is_cuda else [int(number) for number in value.flatten().tolist()]


def _on_device(value: Any, like: Tensor) -> Tensor:
    """Values on like's device. A copy to a GPU goes through pinned memory, so that the host need
    not wait; but not in a captured graph, whose replays would read pinned memory that is freed."""
    is_waiting = not like.is_cuda or type(like) not in PLAIN or torch.compiler.is_compiling()
    if is_waiting or torch.cuda.is_current_stream_capturing():
        return torch.as_tensor(value, device=like.device)
    here = torch.as_tensor(value, device="cpu")
    if type(here) not in PLAIN:
        return here.to(like.device)
    return here.pin_memory().to(like.device, non_blocking=True)


def _is_held(value: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the storage still has all that the tensor views: it may be freed or shrunk."""
    if 0 in shape or value.is_meta:
        return True
    last = value.storage_offset() + sum((n - 1) * step for n, step in zip(shape, strides))
    return (last + 1) * value.element_size() <= value.untyped_storage().nbytes()


def require_held(value: Tensor) -> None:
    """Refuses a tensor whose storage was freed or shrunk: a copy would read past its end."""
    if not _is_held(value, tuple(value.shape), value.stride()):
        raise ValueError(
            "A tensor of this attention has no memory: it is empty of data, as one is whose "
            "storage was freed or shrunk. Pass one that holds its elements."
        )


def readable(value: Tensor) -> Tensor:
    """The tensor, or a copy with a contiguous last dimension and no pending negation."""
    if not torch.compiler.is_compiling() and not _is_wrapped(value):
        if _is_spread(value) or value.is_neg():
            require_held(value)
    value = value.resolve_neg()
    return value.contiguous() if _is_spread(value) else value


def _is_wrapped(value: Tensor) -> bool:
    """Whether the tensor wraps others, which are checked when the wrapper is taken off."""
    return type(value) not in PLAIN or _is_of_functorch(value)


def _is_spread(value: Tensor) -> bool:
    return value.dim() > 0 and value.shape[-1] > 1 and value.stride(-1) != 1


def new_like(like: Tensor, shape: Any, dtype: torch.dtype) -> Tensor:
    """A new tensor, with like's strides if shape and type are like's, else contiguous."""
    if tuple(shape) == tuple(like.shape) and dtype == like.dtype:
        made = torch.empty_like(like)
        if made.dim() == 0 or made.shape[-1] <= 1 or made.stride(-1) == 1:
            return made
    return torch.empty(shape, dtype=dtype, device=like.device)


TORCH = Torch()
_frameworks.adopt(TORCH, *PLAIN)
_quick.adopt(TORCH, tuple(PLAIN), CODES, torch.empty_like)
