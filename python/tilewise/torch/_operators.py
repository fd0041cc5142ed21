"""The operators tilewise::attention and attention_backward.

torch.compile, export, fake tensors, subclasses and modes see these operators in place of a call.
Each tensor and number of a call is an argument, so attention and attention_backward are pure
functions; dropout's state is drawn before the operator is called.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _dtypes, _forms
from tilewise._attend import GROUPED, HEADS_FIRST, Places, Read, attend, differentiate
from tilewise._call import Operands
from tilewise._forms import Asked
from tilewise.torch._arrays import CODES, DTYPES, PLAIN, TORCH, new_like, require_held
from tilewise.torch._fakes import require_shapes
from tilewise.torch._flat import (
    COUNT,
    ROWS,
    SCHEMA,
    TENSORS,
    Flat,
    plain_arguments,
    plain_options,
)
from tilewise.torch._plain import no_tangents

_DIFFERENTIABLE = (0, 1, 2, 3, 4, 5)  # query, key, value, bias, slopes, sinks

library = torch.library.Library("tilewise", "DEF")
_TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(f"attention({SCHEMA}) -> (Tensor, Tensor)", tags=_TAGS)
library.define(
    "attention_backward(Tensor output_gradient, Tensor? lse_gradient, Tensor output, Tensor lse,"
    f" int wanted, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=_TAGS,
)
# Writes into the caller's output, but not into rows that no sequence owns; returns the lse.
library.define(
    f"attention_into(Tensor(a!) out, Tensor(b!)? workspace, {SCHEMA}) -> Tensor", tags=_TAGS
)
attention_operator = torch.ops.tilewise.attention.default
backward_operator = torch.ops.tilewise.attention_backward.default
into_operator = torch.ops.tilewise.attention_into.default


def flatten(
    operands: Operands, arrays: dict[str, Any], options: dict[str, Any], flags: int
) -> Flat:
    """A call as the operators' arguments. `options` are the options that are not tensors."""
    named = plain_arguments(options)
    named["left"], named["right"] = options.get("window") or (None, None)
    diagonal = options.get("diagonal", "bottom_right")
    is_shifted = not isinstance(diagonal, str)
    named["diagonal"], named["shift"] = ("shifted", diagonal) if is_shifted else (diagonal, 0)
    named["output_dtype"] = options.get("output_dtype")
    named["heads_first"] = bool(flags & HEADS_FIRST)
    named["grouped"] = bool(flags & GROUPED)
    return Flat(*operands, *[arrays.get(name) for name in TENSORS], **named)


def unflatten(flat: Flat) -> tuple[Operands, Asked, int]:
    """Undoes flatten: the call, from the operators' arguments."""
    is_shifted = flat.diagonal == "shifted"
    options = plain_options(flat)
    options["window"] = (flat.left, flat.right)
    options["diagonal"] = int(flat.shift) if is_shifted else flat.diagonal
    dtype = flat.output_dtype
    asked = _forms.ask({**options, **flat.arrays()}, 0 if dtype is None else CODES[dtype])
    flags = HEADS_FIRST * flat.heads_first | GROUPED * flat.grouped
    return Operands(flat.query, flat.key, flat.value), asked, flags


def new_results(flat: Flat) -> tuple[Tensor, Tensor]:
    """Output and lse of a call, with the same strides for real tensors and for fake ones."""
    query, value = flat.query, flat.value
    code = CODES[query.dtype]
    dtype = flat.output_dtype or DTYPES[_dtypes.default_code(code)]
    shape = (*query.shape[:-1], value.shape[-1])
    if flat.are_queries_whole():
        return new_like(query, shape, dtype), _new_lse(flat)
    return query.new_zeros(shape, dtype=dtype), _new_lse(flat)


def _new_lse(flat: Flat) -> Tensor:
    *leading, first, second, _ = flat.query.shape
    rows = (*leading, first, second) if flat.heads_first else (*leading, second, first)
    wide = DTYPES[_dtypes.wide_code(CODES[flat.query.dtype])]
    made: Tensor = (
        flat.query.new_empty(rows, dtype=wide)
        if flat.are_queries_whole()
        else flat.query.new_full(rows, -float("inf"), dtype=wide)
    )
    return made


def as_plain(item: Any) -> Any:
    """A tensor as the library reads it: a subclass as a plain Tensor, copied if need be."""
    if not isinstance(item, Tensor):
        return item
    if type(item) not in PLAIN:
        item = item.as_subclass(Tensor)
    if item.dim() == 0 or item.stride(-1) == 1:
        return item
    require_held(item)
    return item.contiguous()


def as_written(out: Any) -> Any:
    """A tensor that is written: a subclass as a plain Tensor of the same memory."""
    return out if out is None or type(out) in PLAIN else out.as_subclass(Tensor)


def _forward(*given: Any) -> tuple[Tensor, Tensor]:
    flat = Flat(*map(as_plain, given))
    operands, asked, flags = unflatten(flat)
    output, lse = new_results(flat)
    attend(TORCH, operands, asked, Places(output, lse), flags)
    return output, lse


def _forward_fake(*given: Any) -> tuple[Tensor, Tensor]:
    flat = Flat(*given)
    require_shapes(flat)
    return new_results(flat)


def _forward_into(out: Any, workspace: Any, *given: Any) -> Tensor:
    """Writes into `out` itself; an `out` that the library cannot write is refused, not copied."""
    flat = Flat(*map(as_plain, given))
    operands, asked, flags = unflatten(flat)
    lse = _new_lse(flat)
    attend(TORCH, operands, asked, Places(as_written(out), lse, as_written(workspace)), flags)
    TORCH.note_written(out, workspace)
    return lse


def _forward_into_fake(_out: Any, _workspace: Any, *given: Any) -> Tensor:
    flat = Flat(*given)
    require_shapes(flat)
    return _new_lse(flat)


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    """The six gradients; an unwanted one is empty, because an operator cannot return None."""
    arriving, lse_gradient, output, lse, wanted, *given = map(as_plain, arguments)
    operands, asked, flags = unflatten(Flat(*given))
    read = Read(arriving, output, lse, lse_gradient)
    found = differentiate(TORCH, operands, asked, read, wanted, flags)
    return tuple(arriving.new_empty(0) if x is None else x for x in found)


def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    arriving, wanted, flat = arguments[0], arguments[4], Flat(*arguments[5:])
    require_shapes(flat)
    return tuple(
        fake_gradient(place, flat) if wanted >> place & 1 else arriving.new_empty(0)
        for place in _DIFFERENTIABLE
    )


def fake_gradient(place: int, flat: Flat) -> Tensor:
    """A gradient without memory, with the strides of the real one."""
    tensor = flat[place]
    dtype = DTYPES[_dtypes.default_code(CODES[tensor.dtype])]
    is_whole = place >= ROWS or (flat.are_queries_whole() if place == 0 else flat.are_keys_whole())
    made: Tensor = tensor.new_empty(tensor.shape, dtype=dtype)
    return new_like(tensor, tensor.shape, dtype) if is_whole else made


for _key in ("CPU", "CUDA"):
    library.impl("attention", _forward, _key)
    library.impl("attention_backward", _backward, _key)
    library.impl("attention_into", _forward_into, _key)
torch.library.register_fake("tilewise::attention", _forward_fake, lib=library)
torch.library.register_fake("tilewise::attention_backward", _backward_fake, lib=library)
torch.library.register_fake("tilewise::attention_into", _forward_into_fake, lib=library)


def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Saves what backward reads, in _shortest's order. Output and lse may both get a gradient."""
    query, key, value = inputs[:ROWS]
    tensors = inputs[ROWS : ROWS + len(TENSORS)]
    ctx.present = [tensor is not None for tensor in tensors]
    options = (tensor for tensor in tensors if tensor is not None)
    ctx.save_for_backward(key, query, value, output[1], output[0], *options)
    ctx.scalars = inputs[ROWS + len(TENSORS) :]
    ctx.set_materialize_grads(False)


def restored(ctx: Any, output_gradient: Any, lse_gradient: Any, needs: Any) -> tuple[Any, ...]:
    """The backward operator's arguments; empty if no gradient is wanted."""
    key, query, value, lse, output, *saved = ctx.saved_tensors
    rest = iter(saved)
    options = (next(rest) if is_there else None for is_there in ctx.present)
    tensors = [query, key, value, *options]
    wanted = 0
    for place in _DIFFERENTIABLE:
        if needs[place] and tensors[place] is not None:
            wanted |= 1 << place
    if wanted == 0 or (output_gradient is None and lse_gradient is None):
        return ()
    if output_gradient is None:
        output_gradient = torch.zeros_like(output)
    return (output_gradient, lse_gradient, output, lse, wanted, *tensors, *ctx.scalars)


def spread(found: Any, wanted: int) -> tuple[Any, ...]:
    """The gradients in the places of forward's arguments, None for all others."""
    places = tuple(x if wanted >> place & 1 else None for place, x in enumerate(found))
    return (*places, *(None,) * (COUNT - len(places)))


def _differentiate(ctx: Any, output_gradient: Any, lse_gradient: Any) -> tuple[Any, ...]:
    arguments = restored(ctx, output_gradient, lse_gradient, ctx.needs_input_grad)
    if not arguments:
        return (None,) * COUNT
    return spread(backward_operator(*arguments), arguments[4])


def no_second_order(*_: Any) -> Any:
    """Refuses second-order gradients; without this, torch would warn and give wrong ones."""
    raise NotImplementedError(
        "tilewise has no second-order gradients; take "
        "torch.nn.functional.scaled_dot_product_attention under sdpa_kernel([SDPBackend.MATH])."
    )


torch.library.register_autograd(
    "tilewise::attention", _differentiate, setup_context=setup, lib=library
)
torch.library.register_autograd("tilewise::attention_backward", no_second_order, lib=library)


class Functorch(torch.autograd.Function):
    """The operator with its gradient, for torch.func, which ignores register_autograd's formula."""

    generate_vmap_rule = True
    setup_context = staticmethod(setup)
    jvp = staticmethod(no_tangents)

    @staticmethod
    def forward(*flat: Any) -> Any:
        return attention_operator(*flat)

    @staticmethod
    def backward(ctx: Any, output_gradient: Any, lse_gradient: Any) -> Any:
        arguments = restored(ctx, output_gradient, lse_gradient, ctx.needs_input_grad)
        if not arguments:
            return (None,) * COUNT
        return spread(FunctorchBackward.apply(*arguments), arguments[4])


class FunctorchBackward(torch.autograd.Function):
    generate_vmap_rule = True
    backward = staticmethod(no_second_order)
    jvp = staticmethod(no_tangents)

    @staticmethod
    def forward(*arguments: Any) -> Any:
        return tuple(backward_operator(*arguments))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass
