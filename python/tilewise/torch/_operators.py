"""The operators tilewise::attention and attention_backward.

They are what torch.compile, export, fake tensors, subclasses and modes see, and how torch's own
machinery asks for a call. Every tensor and every number of a call is an argument of them, so that
they are pure functions; dropout comes with its state, drawn outside.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _dtypes, _forms
from tilewise._attend import GROUPED, HEADS_FIRST, Places, Read, attend, differentiate
from tilewise._call import Operands
from tilewise._forms import Asked
from tilewise.torch._arrays import CODES, DTYPES, PLAIN, TORCH, new_like

# The options that are tensors. The first three have gradients.
TENSORS = (
    "bias",
    "alibi_slopes",
    "sinks",
    "mask",
    "block_mask",
    "dropout_state",
    "query_offsets",
    "key_offsets",
    "query_lengths",
    "key_lengths",
    "query_start",
    "key_start",
    "page_table",
    "cache_batch_index",
    "query_factor",
    "key_factor",
    "value_factor",
    "output_gradient_factor",
)
_SCALARS = (
    "float? scale, bool causal, SymInt? left, SymInt? right, str diagonal, SymInt shift,"
    " SymInt chunk, SymInt[] block_size, float softcap, float dropout, SymInt[] dropout_base,"
    " SymInt? max_query_length, SymInt? max_key_length, bool deterministic, SymInt threads,"
    " ScalarType? output_dtype, bool heads_first, bool grouped"
)
_DIFFERENTIABLE = (0, 1, 2, 3, 4, 5)  # query, key, value, bias, slopes, sinks
_COUNT = 3 + len(TENSORS) + _SCALARS.count(",") + 1


def _signature() -> str:
    tensors = ", ".join(f"Tensor? {name}" for name in TENSORS)
    return f"Tensor query, Tensor key, Tensor value, {tensors}, {_SCALARS}"


library = torch.library.Library("tilewise", "DEF")
_TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(f"attention({_signature()}) -> (Tensor, Tensor)", tags=_TAGS)
library.define(
    "attention_backward(Tensor output_gradient, Tensor? lse_gradient, Tensor output, Tensor lse,"
    f" int wanted, {_signature()}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=_TAGS,
)
attention_operator = torch.ops.tilewise.attention.default
backward_operator = torch.ops.tilewise.attention_backward.default


def flatten(
    operands: Operands, arrays: dict[str, Any], options: dict[str, Any], flags: int
) -> tuple[Any, ...]:
    """A call as the operators' arguments. `options` are those that are no tensors."""
    get = options.get
    left, right = get("window") or (None, None)
    diagonal: Any = get("diagonal", "bottom_right")
    shift: Any = 0
    if not isinstance(diagonal, str):
        diagonal, shift = "shifted", diagonal
    return (
        *operands,
        *(arrays.get(name) for name in TENSORS),
        get("scale"),
        bool(get("causal", False)),
        left,
        right,
        diagonal,
        shift,
        get("chunk", 0),
        list(get("block_size") or ()),
        float(get("softcap", 0.0)),
        float(get("dropout", 0.0)),
        list(get("dropout_base", (0, 0, 0, 0))),
        get("max_query_length"),
        get("max_key_length"),
        bool(get("deterministic", False)),
        get("threads", 0),
        get("output_dtype"),
        bool(flags & HEADS_FIRST),
        bool(flags & GROUPED),
    )


def unflatten(flat: tuple[Any, ...]) -> tuple[Operands, Asked, int]:
    """The same call from the operators' arguments."""
    operands, scalars = Operands(*flat[:3]), flat[3 + len(TENSORS) :]
    arrays = {n: a for n, a in zip(TENSORS, flat[3:]) if a is not None}
    (scale, causal, left, right, diagonal, shift, chunk, blocks, softcap, dropout, base) = scalars[
        :11
    ]
    (longest_query, longest_key, deterministic, threads, dtype, heads_first, grouped) = scalars[11:]
    options = {
        "scale": scale,
        "causal": causal,
        "window": (left, right),
        "diagonal": int(shift) if diagonal == "shifted" else diagonal,
        "chunk": int(chunk),
        "block_size": tuple(blocks) or None,
        "softcap": softcap,
        "dropout": dropout,
        "dropout_base": tuple(base),
        "max_query_length": longest_query,
        "max_key_length": longest_key,
        "deterministic": deterministic,
        "threads": threads,
    }
    asked = _forms.ask({**options, **arrays}, 0 if dtype is None else CODES[dtype])
    return operands, asked, HEADS_FIRST * heads_first | GROUPED * grouped


def _is_whole(flat: tuple[Any, ...]) -> bool:
    """Whether a sequence owns each row of query."""
    at = dict(zip(TENSORS, flat[3:]))
    has_tables = any(at[f"query_{name}"] is not None for name in ("offsets", "lengths", "start"))
    return not has_tables and flat[_COUNT - 7] is None


def _new_results(flat: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """Output and lse of a call, with the same strides for real tensors and for fake ones."""
    query, value = flat[0], flat[2]
    code = CODES[query.dtype]
    dtype = flat[_COUNT - 3] or DTYPES[_dtypes.default_code(code)]
    shape = (*query.shape[:-1], value.shape[-1])
    *leading, first, second, _ = query.shape
    rows = (*leading, first, second) if flat[_COUNT - 2] else (*leading, second, first)
    wide = DTYPES[_dtypes.wide_code(code)]
    if _is_whole(flat):
        return new_like(query, shape, dtype), query.new_empty(rows, dtype=wide)
    return query.new_zeros(shape, dtype=dtype), query.new_full(rows, -float("inf"), dtype=wide)


def as_plain(item: Any) -> Any:
    """Below the dispatcher a subclass is its memory, and that lies as the library can read it."""
    if not isinstance(item, Tensor):
        return item
    if type(item) not in PLAIN:
        item = item.as_subclass(Tensor)
    return item if item.dim() == 0 or item.stride(-1) == 1 else item.contiguous()


def _forward(*flat: Any) -> tuple[Tensor, Tensor]:
    flat = tuple(map(as_plain, flat))
    operands, asked, flags = unflatten(flat)
    output, lse = _new_results(flat)
    attend(TORCH, operands, asked, Places(output, lse), flags)
    return output, lse


def _forward_fake(*flat: Any) -> tuple[Tensor, Tensor]:
    return _new_results(flat)


def _backward(*arguments: Any) -> tuple[Tensor, ...]:
    """Six gradients; those that are not wanted are empty, for an operator has no other way."""
    arguments = tuple(map(as_plain, arguments))
    arriving, lse_gradient, output, lse, wanted, *flat = arguments
    operands, asked, flags = unflatten(tuple(flat))
    read = Read(arriving, output, lse, lse_gradient)
    found = differentiate(TORCH, operands, asked, read, wanted, flags)
    return tuple(arriving.new_empty(0) if x is None else x for x in found)


def _backward_fake(*arguments: Any) -> tuple[Tensor, ...]:
    wanted, *flat = arguments[4:]
    results = []
    for place in _DIFFERENTIABLE:
        if not wanted >> place & 1:
            results.append(arguments[0].new_empty(0))
            continue
        tensor = flat[place]
        dtype = DTYPES[_dtypes.default_code(CODES[tensor.dtype])]
        results.append(_fake_gradient(place, tensor, dtype, tuple(flat)))
    return tuple(results)


def _fake_gradient(place: int, tensor: Any, dtype: Any, flat: tuple[Any, ...]) -> Tensor:
    at = dict(zip(TENSORS, flat[3:]))
    is_whole = place > 2 or (_is_whole(flat) if place == 0 else _are_keys_whole(at, flat))
    made: Tensor = tensor.new_empty(tensor.shape, dtype=dtype)
    return new_like(tensor, tensor.shape, dtype) if is_whole else made


def _are_keys_whole(at: dict[str, Any], flat: tuple[Any, ...]) -> bool:
    names = ("key_offsets", "key_lengths", "key_start", "page_table", "cache_batch_index")
    return all(at[name] is None for name in names) and flat[_COUNT - 6] is None


for _key in ("CPU", "CUDA"):
    library.impl("attention", _forward, _key)
    library.impl("attention_backward", _backward, _key)
torch.library.register_fake("tilewise::attention", _forward_fake, lib=library)
torch.library.register_fake("tilewise::attention_backward", _backward_fake, lib=library)


def setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keeps what backward reads. Both outputs may get a gradient."""
    tensors = inputs[: 3 + len(TENSORS)]
    ctx.present = [tensor is not None for tensor in tensors]
    ctx.save_for_backward(*output, *(tensor for tensor in tensors if tensor is not None))
    ctx.scalars = inputs[3 + len(TENSORS) :]
    ctx.set_materialize_grads(False)


def restored(ctx: Any, output_gradient: Any, lse_gradient: Any, needs: Any) -> tuple[Any, ...]:
    """The backward operator's arguments; without any when nothing is wanted."""
    output, lse, *saved = ctx.saved_tensors
    rest = iter(saved)
    tensors = [next(rest) if is_there else None for is_there in ctx.present]
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
    """Gradients in their places, None for all the rest."""
    places = tuple(x if wanted >> place & 1 else None for place, x in enumerate(found))
    return (*places, *(None,) * (_COUNT - len(places)))


def _differentiate(ctx: Any, output_gradient: Any, lse_gradient: Any) -> tuple[Any, ...]:
    arguments = restored(ctx, output_gradient, lse_gradient, ctx.needs_input_grad)
    if not arguments:
        return (None,) * _COUNT
    return spread(backward_operator(*arguments), arguments[4])


def no_second_order(*_: Any) -> Any:
    """Without this a second backward warns, and goes on with wrong gradients."""
    raise NotImplementedError(
        "tilewise has no second-order gradients; take "
        "torch.nn.functional.scaled_dot_product_attention under sdpa_kernel([SDPBackend.MATH])."
    )


torch.library.register_autograd(
    "tilewise::attention", _differentiate, setup_context=setup, lib=library
)
torch.library.register_autograd("tilewise::attention_backward", no_second_order, lib=library)


class Functorch(torch.autograd.Function):
    """torch.func takes functions of this form only; what register_autograd makes is not of it."""

    generate_vmap_rule = True
    setup_context = staticmethod(setup)

    @staticmethod
    def forward(*flat: Any) -> Any:
        return attention_operator(*flat)

    @staticmethod
    def backward(ctx: Any, output_gradient: Any, lse_gradient: Any) -> Any:
        arguments = restored(ctx, output_gradient, lse_gradient, ctx.needs_input_grad)
        if not arguments:
            return (None,) * _COUNT
        return spread(_FunctorchBackward.apply(*arguments), arguments[4])


class _FunctorchBackward(torch.autograd.Function):
    generate_vmap_rule = True
    backward = staticmethod(no_second_order)

    @staticmethod
    def forward(*arguments: Any) -> Any:
        return tuple(backward_operator(*arguments))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass
