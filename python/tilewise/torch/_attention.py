"""attention for tensors: eager calls go straight to the library, all others through an operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _arguments as check
from tilewise import _forms, _quick
from tilewise._attend import (
    DETERMINISTIC,
    THREADS_SHIFT,
    Places,
    Read,
    attend,
    differentiate,
)
from tilewise._call import Operands, refuse_device
from tilewise._dtypes import wide_code
from tilewise._forms import Asked
from tilewise._frameworks import require
from tilewise._slots import SLOTS
from tilewise.torch import _operators
from tilewise.torch._arrays import CODES, DTYPES, TORCH
from tilewise.torch._plain import (
    are_plain,
    is_batched,
    is_compiling,
    is_dual,
    is_grad_enabled,
    is_plain,
    is_transformed,
    refuse_tangents,
)

_is_autocast_on = getattr(torch._C, "_is_any_autocast_enabled", lambda: True)
_CASTS = frozenset((torch.float32, torch.float16, torch.bfloat16))
_DIFFERENTIABLE = ("bias", "alibi_slopes", "sinks")
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
    """tilewise.attention, which says what these mean."""
    if output_dtype is not None and out is not None:
        raise ValueError("out and output_dtype are both given; out already has a type.")
    if output_dtype is not None:
        TORCH.dtype_code("output_dtype", output_dtype)
    if out is not None:
        require(TORCH, "out", out, is_written=True)
    has_lse = check.flag("return_lse", return_lse)
    return call(
        Operands(query, key, value),
        options,
        0,
        Places(out, has_lse or None, workspace),
        output_dtype,
    )


def call(
    operands: Operands,
    options: Any,
    flags: int,
    places: Places = Places(),  # noqa: B008 - a tuple
    output_dtype: Any = None,
) -> Any:
    """One attention, however its tensors are and whoever watches."""
    query, key, value = operands
    if "device" in options:
        refuse_device(TORCH, options["device"])
    if is_compiling() or not is_plain(query, key, value):
        return _through_operator(operands, options, flags, places, output_dtype)
    if _is_autocast_on():
        operands = _autocast(operands)
    asked = _forms.ask(options, 0 if output_dtype is None else CODES[output_dtype])
    if asked.arrays or asked.dropout:
        if not are_plain(asked.arrays):
            return _through_operator(operands, options, flags, places, output_dtype)
        _prepare(query, asked.arrays, asked.dropout)
    if is_grad_enabled() and _needs_gradient(operands, asked.arrays):
        return differentiable(operands, asked, flags, places)
    found = attend(TORCH, operands, asked, places, flags)
    if places.out is not None:
        TORCH.note_written(places.out)
    return found


def _autocast(operands: Operands) -> Operands:
    """Under autocast what scaled_dot_product_attention gets: the lower type, for all three."""
    query = operands.query
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
    return bool(arrays) and any(
        getattr(arrays.get(name), "requires_grad", False) for name in _DIFFERENTIABLE
    )


def _prepare(query: Tensor, arrays: dict[str, Any], dropout: float) -> None:
    """Options as the library takes them, by steps that have gradients of their own."""
    wide = DTYPES[wide_code(CODES.get(query.dtype, 1))]
    for name in _FACTORS:
        given = arrays.get(name)
        if given is None:
            continue
        if not isinstance(given, Tensor):
            given = TORCH.asarray(name, given, query)
        is_taken = given.dtype in (torch.float32, wide) or given.dtype is torch.bool
        arrays[name] = given if is_taken or given.is_complex() else given.to(wide)
    bias = arrays.get("bias")
    if isinstance(bias, Tensor):
        arrays["bias"] = _readable(bias)
    if dropout and "seed" not in arrays and "dropout_state" not in arrays:
        arrays["dropout_state"] = draw_state(query.device)


def draw_state(device: torch.device) -> Tensor:
    """A seed and an offset from torch's generator: by manual_seed the same ones, in checkpoints the
    same ones again, and in a captured graph new ones at each replay. Nothing waits for them."""
    return torch.randint(-(2**63), 2**63 - 1, (2,), dtype=torch.int64, device=device)


def _readable(tensor: Tensor) -> Tensor:
    """The library reads a last dimension that is contiguous."""
    tensor = tensor.resolve_neg()
    if tensor.dim() == 0 or tensor.shape[-1] <= 1 or tensor.stride(-1) == 1:
        return tensor
    return tensor.contiguous()


def differentiable(operands: Operands, asked: Asked, flags: int, places: Places) -> Any:
    if places.out is not None:
        raise ValueError(
            "out is given, but query, key, value or an option requires a gradient, which the way "
            "into out does not have. Leave out away, or call under torch.no_grad()."
        )
    arrays = asked.arrays
    query, key, value = operands
    is_short = not arrays and not places.lse
    if is_short and _quick.extension is not None:
        if _quick.extension.fits(asked.form, flags, query, key, value):
            return with_gradients(query, key, value, asked, flags)
    query, key, value = _readable(query), _readable(key), _readable(value)
    if is_short:
        return with_gradients(query, key, value, asked, flags)
    if torch.are_deterministic_algorithms_enabled():
        flags |= DETERMINISTIC
    return Attention.apply(
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


def with_gradients(query: Tensor, key: Tensor, value: Tensor, asked: Asked, flags: int) -> Any:
    """The output of a call without tensors among its options."""
    if torch.are_deterministic_algorithms_enabled():
        flags |= DETERMINISTIC
    return Plain.apply(query, key, value, asked, flags)


class Plain(torch.autograd.Function):
    """The gradients of most calls, which have three tensors and want no lse: the shortest way."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, asked: Asked, flags: int) -> Any:
        output, lse = attend(TORCH, (query, key, value), asked, _WITH_LSE, flags)
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.call = asked, flags
        return output

    @staticmethod
    def backward(ctx: Any, arriving: Any) -> Any:
        if arriving is None:
            return None, None, None, None, None
        query, key, value, output, lse = ctx.saved_tensors
        asked, flags = ctx.call
        needs = ctx.needs_input_grad
        wanted = needs[0] | needs[1] << 1 | needs[2] << 2
        found: Any = NotImplemented
        if (
            not is_grad_enabled()
            and _quick.extension is not None
            and is_plain(arriving, query, key)
            and not is_batched(arriving)
        ):
            flags |= torch.get_num_threads() << THREADS_SHIFT
            given = (asked.form, flags, arriving, query, key, value, output, lse)
            found = _quick.extension.backward(*given, None, wanted, None)
        if found is NotImplemented:
            read = Read(arriving, output, lse)
            found = _gradients(Operands(query, key, value), asked, read, wanted, ctx.call[1])
        return found[0], found[1], found[2], None, None


class Attention(torch.autograd.Function):
    """The gradients of calls with options that are tensors, or with an lse."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, *rest: Any) -> Any:
        asked, flags, has_lse = rest[3:]
        operands = Operands(query, key, value)
        output, lse = attend(TORCH, operands, asked, _WITH_LSE, flags)
        arrays = asked.arrays
        # What stays beside ctx's own memory would be neither freed nor seen by checkpoints.
        ctx.names = [name for name, x in arrays.items() if isinstance(x, Tensor)]
        ctx.numbers = {name: x for name, x in arrays.items() if not isinstance(x, Tensor)}
        saved = (arrays[name] for name in ctx.names)
        ctx.save_for_backward(query, key, value, output, lse, *saved)
        ctx.asked = asked._replace(arrays={})
        ctx.flags = flags
        if not has_lse:
            return output
        ctx.set_materialize_grads(False)
        return output, lse

    @staticmethod
    def backward(ctx: Any, output_gradient: Any, lse_gradient: Any = None) -> Any:
        if output_gradient is None and lse_gradient is None:
            return _NO_GRADIENTS
        query, key, value, output, lse, *saved = ctx.saved_tensors
        wanted = 0
        for place in range(6):
            wanted |= ctx.needs_input_grad[place] << place
        asked = ctx.asked._replace(arrays={**ctx.numbers, **dict(zip(ctx.names, saved))})
        if output_gradient is None:
            output_gradient = torch.zeros_like(output)
        if lse_gradient is not None:
            lse_gradient = _readable(lse_gradient)
        read = Read(output_gradient, output, lse, lse_gradient)
        found = _gradients(Operands(query, key, value), asked, read, wanted, ctx.flags)
        return (*found, None, None, None)


def _gradients(
    operands: Operands, asked: Asked, read: Read, wanted: int, flags: int
) -> tuple[Any, ...]:
    query, key, _ = operands
    is_many = is_batched(read.output_gradient) or is_batched(read.lse_gradient)
    # create_graph=True, is_grads_batched=True, and whoever watches
    if is_grad_enabled() or is_many or not is_plain(read.output_gradient, query, key):
        return _by_operator(operands, asked, read, wanted, flags)
    if read.output_gradient.stride(-1) != 1:  # sum().backward() sends strides of zero
        read = read._replace(output_gradient=read.output_gradient.contiguous())
    return differentiate(TORCH, operands, asked, read, wanted, flags)


def _by_operator(
    operands: Operands, asked: Asked, read: Read, wanted: int, flags: int
) -> tuple[Any, ...]:
    """By the operator, whose own gradient refuses: a second order is not silently wrong."""
    options = asked.scalars
    arrays = {name: array for name, array in asked.arrays.items() if isinstance(array, Tensor)}
    if asked.dropout and "dropout_state" not in arrays:
        arrays["dropout_state"] = _state_of(asked.arrays, operands.query.device)
    flat = _operators.flatten(operands, arrays, options, flags)
    found = _operators.backward_operator(
        read.output_gradient, read.lse_gradient, read.output, read.lse, wanted, *flat
    )
    return _operators.spread(found, wanted)[:6]


def _signed(number: int) -> int:
    """The same 64 bits as an integer with a sign."""
    return number - 2**64 if number >= 2**63 else number


def _state_of(arrays: dict[str, Any], device: torch.device) -> Tensor:
    """A seed and an offset given as numbers, as the tensor that operators take."""
    numbers = [_signed(arrays["seed"]), _signed(arrays.get("dropout_offset", 0))]
    return torch.tensor(numbers, dtype=torch.int64, device=device)


def _through_operator(
    operands: Operands, options: Any, flags: int, places: Places, output_dtype: Any
) -> Any:
    operands = _autocast(operands)
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
    if "seed" in arrays:
        arrays["dropout_state"] = _state_of(arrays, query.device)
    for name, value in arrays.items():
        if name in SLOTS and not isinstance(value, Tensor):
            arrays[name] = TORCH.asarray(name, value, query)
    if torch.are_deterministic_algorithms_enabled():
        scalars["deterministic"] = True
    flat = _operators.flatten(operands, arrays, scalars, flags)
    if is_compiling():
        output, lse = _operators.attention_operator(*flat)
    elif is_transformed():
        output, lse = _operators.Functorch.apply(*flat)
    else:
        if is_dual():
            refuse_tangents(*flat)
        _refuse_layouts(operands)
        output, lse = _operators.attention_operator(*flat)
    if places.out is not None:
        output = places.out.copy_(output)
    return (output, lse) if places.lse else output


def _refuse_layouts(operands: Operands) -> None:
    """What torch's own sentence would be a page about."""
    for name, tensor in operands._asdict().items():
        if not isinstance(tensor, Tensor):
            TORCH.asarray(name, tensor, operands.query)
            raise TypeError(
                f"{name} is a {type(tensor).__name__}; pass a torch tensor, for example "
                f"torch.as_tensor({name})."
            )
        if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
            TORCH.check(name, tensor.as_subclass(Tensor))
