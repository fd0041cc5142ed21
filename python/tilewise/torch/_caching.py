"""rotary, append and merge of tensors: rotary with its gradient, all three under torch.compile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _dtypes
from tilewise._call import refuse_device
from tilewise.cache import extend, rotate
from tilewise.merging import join
from tilewise.torch._arrays import CODES, DTYPES, TORCH, new_like
from tilewise.torch._operators import as_plain, as_written, library
from tilewise.torch._plain import (
    are_plain,
    is_compiling,
    is_differentiated,
    is_grad_enabled,
    is_plain,
    is_transformed,
    no_tangents,
    refuse_tangents,
    refuse_wrapped,
)

_TAGS = (torch.Tag.pt2_compliant_tag,)
_ROTARY = ("positions", "offsets", "lengths", "start")
_ROTARY_SCHEMA = (
    "Tensor x, Tensor cosine, Tensor sine, Tensor? positions, Tensor? offsets, Tensor? lengths,"
    " Tensor? start, SymInt? max_length, bool interleaved, bool inverse, bool fixed, SymInt threads"
)
library.define(f"rotary({_ROTARY_SCHEMA}) -> Tensor", tags=_TAGS)
library.define(f"rotary_into(Tensor(a!) out, {_ROTARY_SCHEMA}) -> ()", tags=_TAGS)
_APPEND = (
    "key_offsets",
    "key_lengths",
    "key_start",
    "page_table",
    "cache_batch_index",
    "cosine",
    "sine",
    "query",
    "query_offsets",
    "query_lengths",
    "query_start",
)
_APPEND_SCALARS = ("max_key_length", "max_query_length", "interleaved", "fixed_query", "threads")
library.define(
    "append(Tensor key, Tensor value, Tensor(a!) key_cache, Tensor(b!) value_cache,"
    f" Tensor(c!)? out, Tensor lengths, {', '.join(f'Tensor? {name}' for name in _APPEND)},"
    " SymInt? max_key_length, SymInt? max_query_length, bool interleaved, bool fixed_query,"
    " SymInt threads) -> Tensor",
    tags=_TAGS,
)
library.define(
    "merge(Tensor[] outputs, Tensor[] lses, Tensor? sinks, SymInt threads) -> (Tensor, Tensor)",
    tags=_TAGS,
)


def rotary(x: Tensor, cosine: Tensor, sine: Tensor, **given: Any) -> Any:
    """tilewise.rotary for tensors; see there for the arguments. Only x has a gradient."""
    out = given["out"]
    refuse_device(TORCH, given.pop("device"))
    tables = {name: given[name] for name in _ROTARY}
    tables_and_out = {**tables, "out": out}
    is_direct = not is_compiling() and is_plain(x, cosine, sine) and are_plain(tables_and_out)
    needs = is_grad_enabled() and x.requires_grad
    TORCH.refuse_gradients("rotary", cosine=cosine, sine=sine)
    if not is_direct and not is_compiling():
        refuse_tangents(x, cosine, sine)
    if is_direct and not needs:
        found = rotate(TORCH, x, cosine, sine, **given)
        TORCH.note_written(out)
        return found
    if out is not None and needs:
        raise ValueError("out is given, but x requires a gradient; leave out away.")
    tensors = [_as_tensor(name, tables[name], x) for name in _ROTARY]
    switches = (bool(given["interleaved"]), bool(given["inverse"]), bool(given["fixed"]))
    flat = (x, cosine, sine, *tensors, given["max_length"], *switches, given["threads"])
    is_mapped = not is_compiling() and is_transformed()
    if out is not None and is_mapped:
        raise ValueError(
            "out is given, but torch.func transforms the call, which writes into no memory of the "
            "caller's. Leave it away."
        )
    if out is not None:  # not a copy of the result: rows that nobody owns stay as they are
        TORCH.refuse_gradients("rotary", out=out)
        torch.ops.tilewise.rotary_into.default(out, *flat)
        return out
    if is_mapped and is_differentiated("rotary"):
        return FunctorchRotary.apply(*flat)
    return Rotary.apply(*flat) if is_direct else torch.ops.tilewise.rotary.default(*flat)


def _rotate(*flat: Any) -> Tensor:
    return _rotate_to(None, *flat)


def _rotate_into(out: Any, *flat: Any) -> None:
    _rotate_to(as_written(out), *flat)
    TORCH.note_written(out)


def _rotate_to(out: Any, *flat: Any) -> Tensor:
    x, cosine, sine, *rest = map(as_plain, flat)
    *tables, max_length, interleaved, inverse, fixed, threads = rest
    found: Tensor = rotate(
        TORCH,
        x,
        cosine,
        sine,
        interleaved=interleaved,
        inverse=inverse,
        fixed=fixed,
        max_length=max_length,
        threads=threads,
        out=out,
        **dict(zip(_ROTARY, tables)),
    )
    return found


def _rotate_fake(*flat: Any) -> Tensor:
    return _new(flat[0], all(x is None for x in flat[4:8]))


def _new(like: Tensor, is_whole: bool) -> Tensor:
    """A new tensor with the strides that the real result has."""
    dtype = DTYPES[_dtypes.default_code(CODES[like.dtype])]
    if is_whole:
        return new_like(like, like.shape, dtype)
    made: Tensor = like.new_empty(like.shape, dtype=dtype)
    return made


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[1:7])
    ctx.scalars = inputs[7:]


def _turn_back(
    ctx: Any, gradient: Any, turn: Any = torch.ops.tilewise.rotary.default
) -> tuple[Any, ...]:
    """The gradient of a rotation: the inverse rotation, which has a gradient itself."""
    max_length, interleaved, inverse, fixed, threads = ctx.scalars
    scalars = (max_length, interleaved, not inverse, fixed, threads)
    found = turn(gradient, *ctx.saved_tensors, *scalars)
    return (found, *(None,) * 11)


class Rotary(torch.autograd.Function):
    """Rotary with its gradient, for eager calls."""

    forward = staticmethod(_rotate)
    setup_context = staticmethod(_keep)
    backward = staticmethod(_turn_back)


class FunctorchRotary(torch.autograd.Function):
    """Rotary with its gradient, for torch.func, which ignores register_autograd's formulas."""

    generate_vmap_rule = True
    setup_context = staticmethod(_keep)
    jvp = staticmethod(no_tangents)

    @staticmethod
    def forward(*flat: Any) -> Any:
        return torch.ops.tilewise.rotary.default(*flat)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return _turn_back(ctx, gradient, FunctorchRotary.apply)


def append(
    key: Tensor, value: Tensor, key_cache: Tensor, value_cache: Tensor, lengths: Any, **given: Any
) -> Any:
    """tilewise.append for tensors; see there for the arguments. It has no gradients."""
    TORCH.refuse_gradients(
        "append",
        key=key,
        value=value,
        key_cache=key_cache,
        value_cache=value_cache,
        query=given["query"],
    )
    refuse_device(TORCH, given.pop("device"))
    tensors = {name: given[name] for name in _APPEND}
    others = {**tensors, "value_cache": value_cache, "lengths": lengths, "out": given["out"]}
    is_direct = not is_compiling() and is_plain(key, value, key_cache) and are_plain(others)
    if is_direct:
        turned = extend(TORCH, key, value, key_cache, value_cache, lengths, **given)
        TORCH.note_written(key_cache, value_cache, given["out"])
        return turned
    if not is_compiling():
        rows = (key, value, key_cache, *others.values())
        refuse_tangents(*rows)
        refuse_wrapped("append", *rows)
    rest = [_as_tensor(name, tensors[name], key) for name in _APPEND]
    longest = (given["max_key_length"], given["max_query_length"])
    switches = (bool(given["interleaved"]), bool(given["fixed_query"]))
    rotated = torch.ops.tilewise.append.default(
        key,
        value,
        key_cache,
        value_cache,
        given["out"],
        _as_tensor("lengths", lengths, key),
        *rest,
        *longest,
        *switches,
        given["threads"],
    )
    if given["query"] is None:
        return None
    return rotated if given["out"] is None else given["out"]


def _append(*flat: Any) -> Tensor:
    """Appends; returns the rotated query, or nothing without a query or with `out`."""
    key_cache, value_cache, out = map(as_written, flat[2:5])
    key, value, lengths, *rest = (as_plain(x) for x in (*flat[:2], *flat[5:]))
    given = dict(zip((*_APPEND, *_APPEND_SCALARS), rest))
    found = extend(TORCH, key, value, key_cache, value_cache, lengths, out=out, **given)
    TORCH.note_written(key_cache, value_cache, out)
    return flat[0].new_empty(0) if found is None or out is not None else found


def _append_fake(*flat: Any) -> Tensor:
    given = dict(zip((*_APPEND, *_APPEND_SCALARS), flat[6:]))
    query, names = given["query"], ("query_offsets", "query_lengths", "query_start")
    if query is None or flat[4] is not None:
        return flat[0].new_empty(0)
    is_whole = all(given[name] is None for name in (*names, "max_query_length"))
    return _new(query, is_whole)


def merge(
    outputs: Any, lses: Any, sinks: Any, *, out: Any, lse_out: Any, threads: int, device: str
) -> Any:
    """tilewise.merge for tensors; see there for the arguments. It has no gradients."""
    parts = {f"outputs[{i}]": part for i, part in enumerate(outputs)}
    parts.update({f"lses[{i}]": part for i, part in enumerate(lses)})
    TORCH.refuse_gradients("merge", **parts, sinks=sinks)
    refuse_device(TORCH, device)
    first = outputs[0]
    others = {**parts, "sinks": sinks, "out": out, "lse_out": lse_out}
    if not is_compiling() and is_plain(first, first, lses[0]) and are_plain(others):
        found = join(TORCH, outputs, lses, sinks, out=out, lse_out=lse_out, threads=threads)
        TORCH.note_written(out, lse_out)
        return found
    if not is_compiling():
        refuse_tangents(*others.values())
        refuse_wrapped("merge", *others.values())
    sinks = _as_tensor("sinks", sinks, first)
    output, lse = torch.ops.tilewise.merge.default(list(outputs), list(lses), sinks, threads)
    return (
        output if out is None else out.copy_(output),
        lse if lse_out is None else lse_out.copy_(lse),
    )


def _merge(outputs: Any, lses: Any, sinks: Any, threads: int) -> tuple[Tensor, Tensor]:
    outputs, lses = [as_plain(x) for x in outputs], [as_plain(x) for x in lses]
    return join(TORCH, outputs, lses, as_plain(sinks), out=None, lse_out=None, threads=threads)


def _merge_fake(outputs: Any, lses: Any, _sinks: Any, _threads: int) -> tuple[Tensor, Tensor]:
    return outputs[0].new_empty(outputs[0].shape), lses[0].new_empty(lses[0].shape)


def _as_tensor(name: str, value: Any, like: Tensor) -> Any:
    return None if value is None else TORCH.asarray(name, value, like)


def _no_gradient(*_: Any) -> Any:
    raise NotImplementedError("tilewise.append and merge have no gradients.")


for _key in ("CPU", "CUDA"):
    library.impl("rotary", _rotate, _key)
    library.impl("rotary_into", _rotate_into, _key)
    library.impl("append", _append, _key)
    library.impl("merge", _merge, _key)
torch.library.register_fake("tilewise::rotary", _rotate_fake, lib=library)
torch.library.register_fake("tilewise::rotary_into", lambda *_: None, lib=library)
torch.library.register_fake("tilewise::append", _append_fake, lib=library)
torch.library.register_fake("tilewise::merge", _merge_fake, lib=library)
torch.library.register_autograd("tilewise::rotary", _turn_back, setup_context=_keep, lib=library)
torch.library.register_autograd("tilewise::merge", _no_gradient, lib=library)
TORCH.rotary, TORCH.append, TORCH.merge = rotary, append, merge
