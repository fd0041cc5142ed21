"""The shortest way of an eager call: plain tensors, and options that are numbers.

Users of small calls notice the cost of the way to the library, so the C extension does as much as
it can of it, also of the autograd.Function's work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise import _quick
from tilewise._attend import DETERMINISTIC, THREADS_SHIFT, Read
from tilewise._call import Operands
from tilewise._forms import Asked
from tilewise.torch import _gradients
from tilewise.torch._arrays import PLAIN, TORCH
from tilewise.torch._plain import is_grad_enabled, is_watched

_extension = _quick.extension
_is_deterministic = torch.are_deterministic_algorithms_enabled
_threads = torch.get_num_threads


def attend(query: Tensor, key: Tensor, value: Tensor, asked: Asked, flags: int) -> Any:
    """The new output, with gradients if they are on. NotImplemented: the call needs more.

    The tensors must be plain and autocast off, and no option may be a tensor.
    """
    if _quick.extension is None:
        return NotImplemented
    flags |= _threads() << THREADS_SHIFT
    needs = query.requires_grad or key.requires_grad or value.requires_grad
    if not (needs and is_grad_enabled()):
        return _extension.forward(asked.form, flags, query, key, value, None, None, None)
    if _is_deterministic():
        flags |= DETERMINISTIC
    try:
        return _apply(query, key, value, asked, flags)
    except RuntimeError:  # nested tensors have no shape to note
        for name, tensor in (("query", query), ("key", key), ("value", value)):
            TORCH.check_layout(name, tensor)
        raise


def attend_with(
    name: str, option: Tensor, query: Tensor, key: Tensor, value: Tensor, asked: Asked, flags: int
) -> Any:
    """attend for one option that is a plain tensor, and without gradients."""
    if _quick.extension is None:
        return NotImplemented
    flags |= _threads() << THREADS_SHIFT
    pairs = (_quick.PLACES[name], option)
    return _extension.forward(asked.form, flags, query, key, value, None, None, pairs)


class _Kept(NamedTuple):
    """What Shortest's backward reads from ctx."""

    saved_tensors: tuple[Tensor, ...]
    call: tuple[Asked, int]
    needs_input_grad: tuple[bool, ...]


class Shortest(torch.autograd.Function):
    """attend with gradients. It saves key, query, value, lse and output, and keeps asked and flags.

    All paths of a call save tensors in this order, that of torch's own node. A checkpoint compares
    what forward saved with what its repetition saves, and that may take another path, for instance
    under a profiler.
    """

    forward = staticmethod(getattr(_extension, "attend_saving", None))  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, arriving: Any) -> Any:
        if arriving is None:
            return None, None, None, None, None
        # Read once: a checkpoint gives out saved tensors a single time.
        kept = _Kept(ctx.saved_tensors, ctx.call, ctx.needs_input_grad)
        is_plain = type(arriving) in PLAIN and not arriving.is_neg()
        if is_plain and not is_grad_enabled() and not is_watched():
            found = _extension.differentiate_saved(kept, arriving, _threads())
            if found is not NotImplemented:
                return found
        (key, query, value, lse, output), (asked, flags), needs = kept
        flags &= (1 << THREADS_SHIFT) - 1
        wanted = needs[0] | needs[1] << 1 | needs[2] << 2
        read = Read(arriving, output, lse)
        found = _gradients.of(Operands(query, key, value), asked, read, wanted, flags)
        return found[0], found[1], found[2], None, None


# Skips what Function.apply does for torch.func, which plain tensors are not part of, to save time.
_apply = super(torch.autograd.Function, Shortest).apply
