"""attention for tensors: eager calls go straight to the library, others through an operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _arguments as check
from tilewise import _forms
from tilewise._attend import DETERMINISTIC, Places, Read, attend
from tilewise._call import Operands, refuse_device
from tilewise._dtypes import wide_code
from tilewise._forms import Asked
from tilewise._frameworks import require
from tilewise._slots import SLOTS
from tilewise.torch import _gradients, _operators, _shortest
from tilewise.torch._arrays import CODES, DTYPES, TORCH, readable
from tilewise.torch._flat import TENSORS, Flat
from tilewise.torch._plain import (
    are_plain,
    is_compiling,
    is_differentiated,
    is_dual,
    is_grad_enabled,
    is_plain,
    is_transformed,
    refuse_tangents,
)

is_autocast_on = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)
_CASTS = frozenset((torch.float32, torch.float16, torch.bfloat16))
_DIFFERENTIABLE = ("bias", "alibi_slopes", "sinks")
NEW = Places()  # a new output, and nothing else
_WITH_LSE = Places(lse=True)
_NO_GRADIENTS = (None,) * 9
_FACTORS = tuple(name for name, slot in SLOTS.items() if slot.kind == "factors")


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor | None,
    output_dtype: Any,
    return_lse: Any,
    workspace: Tensor | None,
    options: Any,
) -> Any:
    """tilewise.attention for tensors; see there for the arguments."""
    if output_dtype is not None and out is not None:
        raise ValueError("out and output_dtype are both given; out already has a type.")
    if output_dtype is not None:
        TORCH.dtype_code("output_dtype", output_dtype)
    if out is not None and not is_compiling():
        require(TORCH, "out", out, is_written=True)
    has_lse = return_lse is not False and check.flag("return_lse", return_lse)
    is_new = out is None and workspace is None and not has_lse
    places = NEW if is_new else Places(out, has_lse or None, workspace)
    return call(query, key, value, options, 0, places, output_dtype)


def call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options: Any,
    flags: int,
    places: Places = NEW,
    output_dtype: Any = None,
) -> Any:
    """Runs one attention, by the library or by an operator as the tensors and modes require."""
    if "device" in options:
        refuse_device(TORCH, options["device"])
    if is_compiling() or not is_plain(query, key, value):
        operands = Operands(query, key, value)
        return _through_operator(operands, options, flags, places, output_dtype)
    if is_autocast_on():
        query, key, value = _autocast(query, key, value)
    asked = _forms.ask(options, 0 if output_dtype is None else CODES[output_dtype])
    if asked.arrays or asked.dropout:
        if not are_plain(asked.arrays):
            operands = Operands(query, key, value)
            return _through_operator(operands, options, flags, places, output_dtype)
        _prepare(query, asked.arrays, asked.dropout)
    elif places is NEW:
        found = _shortest.attend(query, key, value, asked, flags)
        if found is not NotImplemented:
            return found
    operands = Operands(query, key, value)
    if is_grad_enabled() and _needs_gradient(operands, asked.arrays):
        return differentiable(operands, asked, flags, places)
    found = attend(TORCH, operands, asked, places, flags)
    if places is not NEW:
        TORCH.note_written(places.out, places.workspace)
    return found


def _autocast(query: Tensor, key: Tensor, value: Tensor) -> Operands:
    """The operands; under autocast in the lower type, as scaled_dot_product_attention has them."""
    operands = Operands(query, key, value)
    if not isinstance(query, Tensor):
        return operands
    kind = query.device.type
    if kind not in ("cpu", "cuda") or not torch.is_autocast_enabled(kind):
        return operands
    dtype = torch.get_autocast_dtype(kind)
    return Operands(
        *(x.to(dtype) if isinstance(x, Tensor) and x.dtype in _CASTS else x for x in operands)
    )


def _needs_gradient(operands: Operands, arrays: dict[str, Any]) -> bool:
    query, key, value = operands
    if query.requires_grad or key.requires_grad or value.requires_grad:
        return True
    return len(arrays) > 0 and any(
        getattr(arrays.get(name), "requires_grad", False) for name in _DIFFERENTIABLE
    )


def _prepare(query: Tensor, arrays: dict[str, Any], dropout: float) -> None:
    """Converts the option tensors to types that the library takes, by differentiable steps."""
    wide = DTYPES[wide_code(CODES.get(query.dtype, 1))]
    for name in _FACTORS:
        given = arrays.get(name)
        if given is None:
            continue
        if not isinstance(given, Tensor):
            given = TORCH.asarray(name, given, query)
        _refuse_layout(name, given)
        if name not in _DIFFERENTIABLE:
            TORCH.refuse_gradients("attention", **{name: given})
        is_taken = given.dtype in (torch.float32, wide) or given.dtype is torch.bool
        arrays[name] = given if is_taken or given.is_complex() else given.to(wide)
    bias = arrays.get("bias")
    if isinstance(bias, Tensor):
        _refuse_layout("bias", bias)
        arrays["bias"] = readable(bias)
    if dropout and "seed" not in arrays and "dropout_state" not in arrays:
        arrays["dropout_state"] = draw_state(query.device, arrays.get("dropout_offset"))


def _as_tensors(arrays: dict[str, Any], query: Tensor) -> dict[str, Any]:
    """Lists and a seed as tensors on query's device. Every path of a call does this: a checkpoint
    compares the tensors that forward and its repetition save, and the two may take different
    paths."""
    found = {name: x for name, x in arrays.items() if name in SLOTS}
    if "seed" in arrays:
        found["dropout_state"] = state_of(arrays, query.device)
    return {
        name: x if isinstance(x, Tensor) else TORCH.asarray(name, x, query)
        for name, x in found.items()
    }


def _signed(number: int) -> int:
    """A 64-bit unsigned number as the signed one with the same bits."""
    return number - 2**64 if number >= 2**63 else number


def state_of(arrays: dict[str, Any], device: torch.device) -> Tensor:
    """The tensor (seed, offset) that operators take, from two numbers."""
    numbers = (arrays["seed"], arrays.get("dropout_offset", 0))
    return torch.cat([_on(device, number) for number in numbers])


def _on(device: torch.device, number: int) -> Tensor:
    """A number as a tensor, filled on the device: the host would have to wait for a copy."""
    return torch.full((1,), _signed(number), dtype=torch.int64, device=device)


def draw_state(device: torch.device, offset: int | None = None) -> Tensor:
    """(seed, offset) from torch's generator, so that manual_seed repeats the pair,
    torch.utils.checkpoint gets the same pair when it repeats the forward pass, and each replay of a
    captured graph draws anew. The host does not wait. `offset` replaces the drawn offset."""
    state = torch.randint(-(2**63), 2**63 - 1, (2,), dtype=torch.int64, device=device)
    return state if offset is None else torch.cat([state[:1], _on(device, offset)])


def differentiable(operands: Operands, asked: Asked, flags: int, places: Places) -> Any:
    _refuse_places(places)
    for name, tensor in operands._asdict().items():
        TORCH.check(name, tensor)
    query, key, value = map(readable, operands)
    arrays = _as_tensors(asked.arrays, query)
    asked = asked._replace(arrays=arrays)
    if torch.are_deterministic_algorithms_enabled():
        flags |= DETERMINISTIC
    return _apply(
        query,
        key,
        value,
        arrays.get("bias"),
        arrays.get("alibi_slopes"),
        arrays.get("sinks"),
        asked,
        flags,
        places.lse,
    )


def _refuse_places(places: Places) -> None:
    """Refuses the caller's memory in a call that needs gradients."""
    for name, place in (("out", places.out), ("workspace", places.workspace)):
        if place is not None:
            raise ValueError(
                f"{name} is given, but query, key, value or an option requires a gradient, which "
                f"the way into {name} does not have. Leave {name} away, or call under "
                "torch.no_grad()."
            )


class Attention(torch.autograd.Function):
    """Eager attention with gradients where options are tensors or an lse is returned."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, *rest: Any) -> Any:
        asked, flags, has_lse = rest[3:]
        operands = Operands(query, key, value)
        output, lse = attend(TORCH, operands, asked, _WITH_LSE, flags)
        # Tensors kept elsewhere would not be freed, and checkpoints would not see them.
        ctx.names = [name for name in TENSORS if name in asked.arrays]
        saved = (asked.arrays[name] for name in ctx.names)
        ctx.save_for_backward(key, query, value, lse, output, *saved)
        ctx.asked = asked._replace(arrays={})
        ctx.flags = flags
        ctx.set_materialize_grads(False)
        return (output, lse) if has_lse else output

    @staticmethod
    def backward(ctx: Any, output_gradient: Any, lse_gradient: Any = None) -> Any:
        if output_gradient is None and lse_gradient is None:
            return _NO_GRADIENTS
        key, query, value, lse, output, *saved = ctx.saved_tensors
        wanted, needs = 0, ctx.needs_input_grad
        for place in range(6):
            wanted |= needs[place] << place
        asked = ctx.asked._replace(arrays=dict(zip(ctx.names, saved)))
        if output_gradient is None:
            output_gradient = torch.zeros_like(output)
        if lse_gradient is not None:
            lse_gradient = readable(lse_gradient)
        read = Read(output_gradient, output, lse, lse_gradient)
        found = _gradients.of(Operands(query, key, value), asked, read, wanted, ctx.flags)
        return (*found, None, None, None)


# Skips what Function.apply does for torch.func, which plain tensors are not part of.
_apply = super(torch.autograd.Function, Attention).apply


def _through_operator(
    operands: Operands, options: Any, flags: int, places: Places, output_dtype: Any
) -> Any:
    operands = _autocast(*operands)
    flat, arrays = flat_of(operands, options, flags, output_dtype)
    if not is_compiling() and is_dual():
        refuse_tangents(*flat)
    if places.out is not None or places.workspace is not None:
        output, lse = _into(operands, arrays, flat, places)
    elif is_compiling():
        output, lse = _operators.attention_operator(*flat)
    elif is_transformed() and is_differentiated("attention"):
        output, lse = _operators.Functorch.apply(*flat)
    else:
        refuse_layouts(operands._asdict(), operands.query)
        output, lse = _operators.attention_operator(*flat)
    return (output, lse) if places.lse else output


def flat_of(
    operands: Operands, options: Any, flags: int, output_dtype: Any = None
) -> tuple[Flat, dict[str, Any]]:
    """The operators' arguments, and the options that are tensors, by name."""
    query = operands.query
    arrays: dict[str, Any] = {}
    scalars: dict[str, Any] = {}
    for name, value in options.items():
        if name not in _forms.KNOWN:
            raise TypeError(f"{name} is no option of attention; help(tilewise.Options) lists them.")
        if name in SLOTS or name == "seed" or name == "dropout_offset":
            if value is not None:
                arrays[name] = value
        else:
            scalars[name] = value
    scalars["output_dtype"] = output_dtype
    _prepare(query, arrays, scalars.get("dropout", 0.0))
    arrays = _as_tensors(arrays, query)
    if torch.are_deterministic_algorithms_enabled():
        scalars["deterministic"] = True
    return _operators.flatten(operands, arrays, scalars, flags), arrays


def _into(
    operands: Operands, arrays: dict[str, Any], flat: Flat, places: Places
) -> tuple[Any, Any]:
    """Runs the operator that writes into the caller's output, workspace or both."""
    if is_grad_enabled() and _needs_gradient(operands, arrays):
        _refuse_places(places)
    TORCH.refuse_gradients("attention", out=places.out)
    refuse_transformed_places()
    out = _operators.new_results(flat)[0] if places.out is None else places.out
    return out, _operators.into_operator(out, places.workspace, *flat)


def refuse_transformed_places() -> None:
    """Refuses the caller's memory in a call that torch.func transforms."""
    if not is_compiling() and is_transformed():
        raise ValueError(
            "out or workspace is given, but torch.func transforms the call, which writes into no "
            "memory of the caller's. Leave both away."
        )


def refuse_layouts(tensors: dict[str, Any], query: Any) -> None:
    """Refuses operands that are no strided tensors, in shorter words than torch's."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            TORCH.asarray(name, tensor, query)
            raise TypeError(
                f"{name} is a {type(tensor).__name__}; pass a torch tensor, for example "
                f"torch.as_tensor({name})."
            )
        _refuse_layout(name, tensor)


def _refuse_layout(name: str, tensor: Tensor) -> None:
    """Refuses a tensor without strides; under torch.compile torch itself checks."""
    if not is_compiling():
        TORCH.check_layout(name, tensor)
