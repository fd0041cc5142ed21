"""torch.ops.flash_attn and torch.ops.flash_attn_3, as flash_attn's own packages define them.

Importing tilewise.flash_attn does not define them, because flash_attn's own packages, which define
the same operators, may be installed as well. They are defined by `import flash_attn` once install()
has made this mean tilewise.flash_attn, and by importing flash_attn_3._C.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from tilewise.flash_attn import _kernels
from tilewise.flash_attn._probabilities import round_multiple
from tilewise.flash_attn.flash_attn_3 import _kernels as _kernels_3
from tilewise.flash_attn.flash_attn_3 import flash_attn_interface as interface_3

_SCORES = (
    "float dropout_p, float softmax_scale, bool causal, SymInt window_size_left,"
    " SymInt window_size_right, float softcap, Tensor? alibi_slopes"
)
_LENGTHS = "Tensor cu_seqlens_q, Tensor cu_seqlens_k, SymInt max_seqlen_q, SymInt max_seqlen_k"
_READ = (
    "Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor softmax_lse,"
    " Tensor(a!)? dq, Tensor(b!)? dk, Tensor(c!)? dv"
)
_FOUR = "(Tensor, Tensor, Tensor, Tensor)"
_SCHEMAS = {
    "_flash_attn_forward": f"(Tensor q, Tensor k, Tensor v, {_SCORES}, bool return_softmax)"
    f" -> {_FOUR}",
    "_flash_attn_varlen_forward": (
        f"(Tensor q, Tensor k, Tensor v, {_LENGTHS}, float dropout_p, float softmax_scale,"
        " bool causal, SymInt window_size_left=-1, SymInt window_size_right=-1, float softcap=0.0,"
        " Tensor? alibi_slopes=None, bool return_softmax=False, Tensor? block_table=None,"
        " Tensor? leftpad_k=None, Tensor? seqused_k=None, bool zero_tensors=False,"
        f" SymInt num_splits=0) -> {_FOUR}"
    ),
    "_flash_attn_backward": (
        f"({_READ}, {_SCORES}, bool deterministic, Tensor? rng_state=None) -> Tensor"
    ),
    "_flash_attn_varlen_backward": (
        f"({_READ}, {_LENGTHS}, {_SCORES}, bool deterministic, Tensor? rng_state=None,"
        " bool zero_tensors=False) -> Tensor"
    ),
}
_SCHEMAS_3 = {
    "fwd": (
        "(Tensor q, Tensor k, Tensor v, Tensor(k_new!)? k_new=None, Tensor(v_new!)? v_new=None,"
        " Tensor? q_v=None, Tensor(out!)? out=None, Tensor? cu_seqlens_q=None,"
        " Tensor? cu_seqlens_k=None, Tensor? cu_seqlens_k_new=None, Tensor? seqused_q=None,"
        " Tensor? seqused_k=None, int? max_seqlen_q=None, int? max_seqlen_k=None,"
        " Tensor? page_table=None, Tensor? kv_batch_idx=None, Tensor? leftpad_k=None,"
        " Tensor? rotary_cos=None, Tensor? rotary_sin=None, Tensor? seqlens_rotary=None,"
        " Tensor? q_descale=None, Tensor? k_descale=None, Tensor? v_descale=None,"
        " float? softmax_scale=None, bool is_causal=False, int window_size_left=-1,"
        " int window_size_right=-1, int attention_chunk=0, float softcap=0.0,"
        " bool is_rotary_interleaved=False, Tensor? scheduler_metadata=None, int num_splits=0,"
        " bool? pack_gqa=None, int sm_margin=0) -> (Tensor(out!), Tensor, Tensor, Tensor)"
    ),
    "bwd": (
        "(Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor softmax_lse,"
        " Tensor(dq!)? dq=None, Tensor(dk!)? dk=None, Tensor(dv!)? dv=None,"
        " Tensor? cu_seqlens_q=None, Tensor? cu_seqlens_k=None, Tensor? seqused_q=None,"
        " Tensor? seqused_k=None, int? max_seqlen_q=None, int? max_seqlen_k=None,"
        " float? softmax_scale=None, bool is_causal=False, int window_size_left=-1,"
        " int window_size_right=-1, float softcap=0.0, bool deterministic=False,"
        " int sm_margin=0) -> (Tensor(dq!), Tensor(dk!), Tensor(dv!), Tensor, Tensor, Tensor,"
        " Tensor, Tensor)"
    ),
    "fwd_combine": (
        "(Tensor out_partial, Tensor lse_partial, Tensor(out!)? out=None,"
        " ScalarType? out_dtype=None) -> (Tensor(out!), Tensor)"
    ),
    "get_scheduler_metadata": (
        "(int batch_size, int max_seqlen_q, int max_seqlen_k, int num_heads, int num_heads_k,"
        " int headdim, int headdim_v, ScalarType qkv_dtype, Tensor seqused_k,"
        " Tensor? cu_seqlens_q=None, Tensor? cu_seqlens_k=None, Tensor? cu_seqlens_k_new=None,"
        " Tensor? seqused_q=None, Tensor? leftpad_k=None, int? page_size=None,"
        " int max_seqlen_k_new=0, bool is_causal=False, int window_size_left=-1,"
        " int window_size_right=-1, int attention_chunk=0, bool has_softcap=False,"
        " int num_splits=0, bool? pack_gqa=None, int sm_margin=0) -> Tensor"
    ),
}
_held: list[torch.library.Library] = []  # torch removes the definitions of a Library that is freed


def define_all() -> None:
    """Defines the operators, unless that is done."""
    if _held:
        return
    _define("flash_attn", _SCHEMAS, {name: getattr(_kernels, name) for name in _SCHEMAS})
    functions = {
        "fwd": _forward_3,
        "bwd": _backward_3,
        "fwd_combine": interface_3.flash_attn_combine,
        "get_scheduler_metadata": _metadata_3,
    }
    _define("flash_attn_3", _SCHEMAS_3, functions)


def _arguments(function: Any, given: tuple[Any, ...]) -> dict[str, Any]:
    """An operator's arguments by the function's names. torch leaves out defaults at the end."""
    return dict(zip(inspect.signature(function).parameters, given))


def _forward_3(*given: Any) -> tuple[Tensor, ...]:
    """The forward operator, one of whose defaults differs from the function's."""
    named = _arguments(_kernels_3._flash_attn_forward, given)
    return _kernels_3._flash_attn_forward(**{"rotary_interleaved": False, **named})


def _backward_3(*given: Any) -> tuple[Tensor, ...]:
    """The backward operator: dq, dk and dv come before the lengths and may be None."""
    given += (None,) * (15 - len(given))
    read, places, lengths, rest = given[:6], given[6:9], given[9:15], given[15:]
    pairs = zip(places, read[1:4])
    places = tuple(torch.empty_like(x) if place is None else place for place, x in pairs)
    sums = _kernels_3._flash_attn_backward(*read, *lengths, *places, *rest)
    return (*places, sums, *(sums.new_empty(0) for _ in range(4)))


def _metadata_3(*given: Any) -> Tensor:
    batch_size, seqused_k = given[0], given[8]
    return torch.zeros(batch_size, dtype=torch.int32, device=seqused_k.device)


def _define(namespace: str, schemas: dict[str, str], functions: dict[str, Any]) -> None:
    library = torch.library.Library(namespace, "FRAGMENT")
    _held.append(library)
    for name, schema in schemas.items():
        if hasattr(getattr(torch.ops, namespace), name):
            continue
        library.define(name + schema)
        for key in ("CPU", "CUDA"):
            library.impl(name, functions[name], key)
        fake = _FAKES.get(name)
        if fake is not None:
            torch.library.register_fake(f"{namespace}::{name}", fake, lib=library)


def _forward_fake(*given: Any) -> tuple[Tensor, ...]:
    call = _arguments(_kernels._flash_attn_forward, given)
    batch, queries, heads, _ = call["q"].shape
    rows = batch, heads, queries, call["k"].shape[1]
    return _fakes(call, rows[:3], rows)


def _varlen_fake(*given: Any) -> tuple[Tensor, ...]:
    call = _arguments(_kernels._flash_attn_varlen_forward, given)
    tokens, heads, _ = call["q"].shape
    sequences = call["cu_seqlens_q"].shape[0] - 1
    rows = sequences, heads, call["max_seqlen_q"], call["max_seqlen_k"]
    return _fakes(call, (heads, tokens), rows)


def _fakes(call: dict[str, Any], lse: Any, rows: Any) -> tuple[Tensor, ...]:
    q, v, (*lead, queries, keys) = call["q"], call["v"], rows
    has_dmask = call["dropout_p"] and call.get("return_softmax", False)
    shape = (*lead, round_multiple(queries, 128), round_multiple(keys, 128))
    return (
        q.new_empty((*q.shape[:-1], v.shape[-1])),
        q.new_empty(lse, dtype=torch.float64 if q.dtype == torch.float64 else torch.float32),
        q.new_empty(shape if has_dmask else (0,)),
        q.new_empty((2,), dtype=torch.int64),
    )


def _backward_fake(dout: Tensor, *_: Any) -> Tensor:
    batch, queries, heads, _ = dout.shape
    return dout.new_empty((batch, heads, round_multiple(queries, 128)), dtype=torch.float32)


def _varlen_backward_fake(*given: Any) -> Tensor:
    call = _arguments(_kernels._flash_attn_varlen_backward, given)
    dout, sequences = call["dout"], call["cu_seqlens_q"].shape[0] - 1
    tokens, heads, _ = dout.shape
    made: Tensor = dout.new_empty((heads, tokens + 128 * sequences), dtype=torch.float32)
    return made


_FAKES = {
    "_flash_attn_forward": _forward_fake,
    "_flash_attn_varlen_forward": _varlen_fake,
    "_flash_attn_backward": _backward_fake,
    "_flash_attn_varlen_backward": _varlen_backward_fake,
}
