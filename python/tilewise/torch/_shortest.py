"""The shortest way, which most eager calls can go: tensors that nobody watches, and numbers.

What a call costs there is what users of small calls notice, so the extension does all that it can
of an autograd.Function, too.
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
    """The new output, with gradients where these are on. NotImplemented: the call needs more.

    For tensors that are plain, without autocast, and options among which there are no tensors.
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
    """The same with one option that is a plain tensor, and without gradients."""
    if _quick.extension is None:
        return NotImplemented
    flags |= _threads() << THREADS_SHIFT
    pairs = (_quick.PLACES[name], option)
    return _extension.forward(asked.form, flags, query, key, value, None, None, pairs)


class _Kept(NamedTuple):
    """What the forward of Shortest left for its backward."""

    saved_tensors: tuple[Tensor, ...]
    call: tuple[Asked, int]
    needs_input_grad: tuple[bool, ...]


class Shortest(torch.autograd.Function):
    """Its gradients. It saves key, query, value, lse and output, and keeps asked and flags.

    In the order in which torch's node saves them, and so do all the ways of a call: a checkpoint
    compares what forward saved with what it saves again, perhaps under a profiler.
    """

    forward = staticmethod(getattr(_extension, "attend_saving", None))  # type: ignore[arg-type]

    @staticmethod
    def backward(ctx: Any, arriving: Any) -> Any:
        if arriving is None:
            return None, None, None, None, None
        # Once: a checkpoint hands out saved tensors a single time.
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


# What Function.apply does besides is for transformations of torch.func, which plain tensors are not
# in, and takes as long as all the rest.
_apply = super(torch.autograd.Function, Shortest).apply
