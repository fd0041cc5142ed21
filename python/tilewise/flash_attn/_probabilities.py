"""S_dmask: the probabilities before normalisation, negative where dropout dropped them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tilewise import _abi
from tilewise._call import Call, Operands
from tilewise._frameworks import Fill
from tilewise._slots import SLOTS
from tilewise.torch import _operators
from tilewise.torch._arrays import TORCH
from tilewise.torch._flat import SCHEMA, Flat

# How many columns of S_dmask are relative to one maximum: in flash_attn a block of a row, here the
# whole row, so the number is larger than any row has.
BLOCK_COLUMNS = 1 << 30
_TAGS = (torch.Tag.pt2_compliant_tag,)
_operators.library.define(
    f"probabilities({SCHEMA}, SymInt queries, SymInt keys) -> Tensor", tags=_TAGS
)


def _compute(*given: Any) -> Tensor:
    flat = Flat(*map(_operators.as_plain, given[:-2]))
    operands, asked, _ = _operators.unflatten(flat)
    call = Call(TORCH, asked, Operands(operands.query, operands.key, None))
    result: Tensor = call.result(call.extent(), call.wide, Fill.ZERO)
    call.request.output = call.borrow.output("S_dmask", result)
    call.run("tw_probabilities", _abi.Operation.PROBABILITIES, None)
    made: Tensor = operands.query.new_zeros(_shape(given))
    queries = min(result.shape[2], made.shape[2])
    keys = min(result.shape[3], made.shape[3])
    made[:, :, :queries, :keys] = result[:, :, :queries, :keys]
    return made


def _shape(given: Any) -> tuple[Any, ...]:
    flat = Flat(*given[:-2])
    query, offsets = flat.query, flat.query_offsets
    batch = query.shape[0] if offsets is None else offsets.shape[0] - 1
    return batch, query.shape[-2], given[-2], given[-1]


def _fake(*given: Any) -> Tensor:
    made: Tensor = given[0].new_empty(_shape(given))
    return made


for _key in ("CPU", "CUDA"):
    _operators.library.impl("probabilities", _compute, _key)
torch.library.register_fake("tilewise::probabilities", _fake, lib=_operators.library)


def round_multiple(x: Any, m: int) -> Any:
    """x, rounded up to a multiple of m.

    >>> round_multiple(130, 128)
    256
    """
    return (x + m - 1) // m * m


def dropped_probabilities(q: Tensor, k: Tensor, options: dict[str, Any], lengths: Any) -> Tensor:
    """(batch, heads, queries, keys), both rounded up to 128, in q's type."""
    arrays = {name: x for name, x in options.items() if name in SLOTS}
    scalars = {name: x for name, x in options.items() if name not in SLOTS}
    if lengths is None:
        queries, keys = q.shape[1], k.shape[1]
    else:
        queries, keys = int(lengths.max_seqlen_q), int(lengths.max_seqlen_k)
    q, k = q.detach(), k.detach()
    flat = _operators.flatten(Operands(q, k, k), arrays, scalars, 0)
    rounded = round_multiple(queries, 128), round_multiple(keys, 128)
    found: Tensor = torch.ops.tilewise.probabilities.default(*flat, *rounded)
    return found
