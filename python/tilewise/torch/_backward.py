"""attention_backward of tensors: by the library, or by an operator under compile and modes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _forms
from tilewise._attend import (
    Gradients,
    Places,
    Read,
    differentiate_anyhow,
    differentiate_into,
    places_of,
)
from tilewise._call import Operands, refuse_device, require_seed
from tilewise.torch import _operators
from tilewise.torch._arrays import TORCH
from tilewise.torch._attention import flat_of, refuse_layouts, refuse_transformed_places
from tilewise.torch._flat import SCHEMA, Flat
from tilewise.torch._operators import as_plain, as_written, library
from tilewise.torch._plain import (
    are_plain,
    is_compiling,
    is_differentiated,
    is_dual,
    is_plain,
    is_transformed,
    refuse_tangents,
)

_COUNT = len(Gradients._fields)
_OUTS = ", ".join(f"Tensor({'abcdef'[i]}!)? {n}_out" for i, n in enumerate(Gradients._fields))
# Writes into the caller's places, some of which may be missing; returns the gradients without one.
library.define(
    f"attention_backward_into({_OUTS}, Tensor(g!)? workspace, Tensor output_gradient,"
    f" Tensor? lse_gradient, Tensor output, Tensor lse, int wanted, {SCHEMA})"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
into_packet = torch.ops.tilewise.attention_backward_into


def attention_backward(
    operands: Operands, read: Read, wanted: int, places: Places, options: Any
) -> Gradients:
    """tilewise.attention_backward for tensors; see there for the arguments."""
    if "device" in options:
        refuse_device(TORCH, options["device"])
    tensors = {name: x for name, x in (*_named(operands), *_named(read)) if x is not None}
    arrays = {name: x for name, x in options.items() if isinstance(x, Tensor)}
    TORCH.refuse_gradients("attention_backward", **tensors, **arrays)
    require_seed(options.get("dropout", 0), options, "its gradients need the same ones")
    is_direct = not is_compiling() and is_plain(*operands) and are_plain({**tensors, **arrays})
    if is_direct:
        asked = _forms.ask(options)
        return differentiate_anyhow(TORCH, operands, asked, read, wanted, places)
    refuse_layouts(tensors, operands.query)
    flat, _ = flat_of(operands, options, 0)
    if not is_compiling() and is_dual():
        refuse_tangents(*tensors.values(), *flat)
    arguments = (read.output_gradient, read.lse_gradient, read.output, read.lse)
    outs = places_of(places.out)
    for place, name in enumerate(Gradients._fields):
        if flat[place] is None:
            wanted &= ~(1 << place)
            if outs[place] is not None:
                raise ValueError(
                    f"out.{name} is given, but the call has no {name} to differentiate."
                )
    if places.out is not None or places.workspace is not None:
        return _into(outs, places.workspace, arguments, wanted, flat)
    if not wanted:
        raise ValueError("Every gradient is switched off; leave at least one of them on.")
    if not is_compiling() and is_transformed() and is_differentiated("attention_backward"):
        found = _operators.FunctorchBackward.apply(*arguments, wanted, *flat)
    else:
        found = _operators.backward_operator(*arguments, wanted, *flat)
    return Gradients(*_operators.spread(found, wanted)[:_COUNT])


def _named(parts: Any) -> Any:
    return parts._asdict().items()


def _into(outs: Gradients, workspace: Any, arguments: Any, wanted: int, flat: Flat) -> Gradients:
    refuse_transformed_places()
    given = {f"out.{name}": out for name, out in _named(outs)}
    TORCH.refuse_gradients("attention_backward", **given)
    found = into_packet.default(*outs, workspace, *arguments, wanted, *flat)
    found = _operators.spread(found, wanted)
    return Gradients(*(new if out is None else out for new, out in zip(found, outs)))


def _backward_into(*arguments: Any) -> tuple[Tensor, ...]:
    """Writes into the caller's tensors; one that the library cannot write is refused."""
    *outs, workspace = map(as_written, arguments[: _COUNT + 1])
    rest = map(as_plain, arguments[_COUNT + 1 :])
    arriving, lse_gradient, output, lse, wanted, *given = rest
    operands, asked, flags = _operators.unflatten(Flat(*given))
    read = Read(arriving, output, lse, lse_gradient)
    places = Places(Gradients(*outs), workspace=workspace)
    found = differentiate_into(TORCH, operands, asked, read, wanted, places, flags)
    are_new = (new is not None and out is None for new, out in zip(found, outs))
    return tuple(x if is_new else arriving.new_empty(0) for x, is_new in zip(found, are_new))


def _backward_into_fake(*arguments: Any) -> tuple[Tensor, ...]:
    outs, (arriving, *_) = arguments[:_COUNT], arguments[_COUNT + 1 :]
    wanted, flat = arguments[_COUNT + 5], Flat(*arguments[_COUNT + 6 :])
    return tuple(
        _operators.fake_gradient(place, flat)
        if wanted >> place & 1 and out is None
        else arriving.new_empty(0)
        for place, out in enumerate(outs)
    )


for _key in ("CPU", "CUDA"):
    library.impl("attention_backward_into", _backward_into, _key)
torch.library.register_fake("tilewise::attention_backward_into", _backward_into_fake, lib=library)
