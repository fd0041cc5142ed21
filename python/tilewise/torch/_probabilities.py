"""attention_probabilities of tensors: by the library, or by an operator under compile and modes.

The operators share attention's schema, in which value is a tensor. They are called with key in its
place, which _weigh drops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _dtypes, _forms
from tilewise._attend import Places, weigh
from tilewise._call import Operands, refuse_device, require_seed
from tilewise.torch import _operators
from tilewise.torch._arrays import CODES, DTYPES, TORCH
from tilewise.torch._attention import flat_of, refuse_layouts, refuse_transformed_places
from tilewise.torch._flat import SCHEMA, Flat
from tilewise.torch._operators import as_plain, as_written, library
from tilewise.torch._plain import are_plain, is_compiling, is_dual, is_plain, refuse_tangents

_TAGS = (torch.Tag.pt2_compliant_tag,)
library.define(f"attention_probabilities({SCHEMA}) -> Tensor", tags=_TAGS)
library.define(
    f"attention_probabilities_into(Tensor(a!) out, Tensor(b!)? workspace, {SCHEMA}) -> ()",
    tags=_TAGS,
)
probabilities_packet = torch.ops.tilewise.attention_probabilities
probabilities_into_packet = torch.ops.tilewise.attention_probabilities_into


def attention_probabilities(operands: Operands, places: Places, options: Any) -> Any:
    """tilewise.attention_probabilities for tensors; see there for the arguments."""
    if "device" in options:
        refuse_device(TORCH, options["device"])
    query, key, _ = operands
    arrays = {name: x for name, x in options.items() if isinstance(x, Tensor)}
    TORCH.refuse_gradients("attention_probabilities", query=query, key=key, **arrays)
    require_seed(options.get("dropout", 0), options, "its probabilities say which ones")
    if not is_compiling() and is_plain(query, key, key) and are_plain(arrays):
        return weigh(TORCH, operands, _forms.ask(options), places)
    refuse_layouts({"query": query, "key": key}, query)
    flat, _ = flat_of(operands._replace(value=key), options, 0)
    if not is_compiling() and is_dual():
        refuse_tangents(*flat)
    if places.out is None and places.workspace is None:
        return probabilities_packet.default(*flat)
    refuse_transformed_places()
    TORCH.refuse_gradients("attention_probabilities", out=places.out)
    out = _new(flat) if places.out is None else places.out
    probabilities_into_packet.default(out, places.workspace, *flat)
    return out


def _probabilities(*given: Any) -> Tensor:
    return _weigh(Places(), *given)


def _probabilities_into(out: Any, workspace: Any, *given: Any) -> None:
    _weigh(Places(as_written(out), workspace=as_written(workspace)), *given)


def _weigh(places: Places, *given: Any) -> Tensor:
    operands, asked, _ = _operators.unflatten(Flat(*map(as_plain, given)))
    found: Tensor = weigh(TORCH, operands._replace(value=None), asked, places)
    return found


def _new(flat: Flat) -> Tensor:
    """A new result, 0 wherever no sequence has rows."""
    batch = flat.query.shape[0]
    if flat.query_offsets is not None:
        batch = flat.query_offsets.shape[0] - 1
    keys = _longest(flat, "key")
    if flat.page_table is not None:
        keys = flat.page_table.shape[-1] * flat.key.shape[1]
    shape = (batch, flat.query.shape[-2], _longest(flat, "query"), keys)
    made: Tensor = flat.query.new_zeros(
        shape, dtype=DTYPES[_dtypes.wide_code(CODES[flat.query.dtype])]
    )
    return made


def _longest(flat: Flat, side: str) -> Any:
    rows = getattr(flat, side).shape
    if getattr(flat, f"{side}_offsets") is None:
        return rows[1]
    longest = getattr(flat, f"max_{side}_length")
    if not longest:
        raise ValueError(
            f"{side}_offsets are given, and nobody can read them while the call is traced; give "
            f"max_{side}_length, which the result's shape is made of."
        )
    return min(longest, rows[0])


for _key in ("CPU", "CUDA"):
    library.impl("attention_probabilities", _probabilities, _key)
    library.impl("attention_probabilities_into", _probabilities_into, _key)
torch.library.register_fake(
    "tilewise::attention_probabilities", lambda *given: _new(Flat(*given)), lib=library
)
torch.library.register_fake("tilewise::attention_probabilities_into", lambda *_: None, lib=library)
