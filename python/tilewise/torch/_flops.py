"""What torch's FlopCounterMode counts for a call: as much as for torch's own attention.

Every pair of query and key counts, also hidden pairs: two operations for each element that a
product sums, two products forward and five backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.flop_counter import flop_registry, register_flop_formula

from tilewise.torch._backward import into_packet
from tilewise.torch._flat import Flat
from tilewise.torch._probabilities import probabilities_into_packet, probabilities_packet


def _products(flat: Flat) -> tuple[int, int]:
    """The operations of one product of queries and keys, and of one with the values."""
    heads = flat.query.shape[1 if flat.heads_first else -2]
    pairs = sum(n * m for n, m in zip(_lengths(flat, "query"), _lengths(flat, "key")))
    return 2 * heads * pairs * flat.query.shape[-1], 2 * heads * pairs * flat.value.shape[-1]


def _lengths(flat: Flat, side: str) -> list[int]:
    """The rows of each sequence. Padding counts, as hidden pairs do."""
    rows, offsets = getattr(flat, side), getattr(flat, f"{side}_offsets")
    if offsets is not None:
        return _between(offsets, rows.shape[0])
    if side == "key" and flat.page_table is not None:
        batch, columns = flat.page_table.shape
        return [columns * rows.shape[1]] * batch
    other = flat.key_offsets if side == "query" else flat.query_offsets
    batch = rows.shape[0] if other is None else other.shape[0] - 1
    if side == "key" and flat.cache_batch_index is not None:
        batch = flat.cache_batch_index.shape[0]
    return [rows.shape[2 if flat.heads_first else 1]] * batch


def _between(offsets: Any, tokens: int) -> list[int]:
    """The lengths between offsets; equal parts if the offsets have no memory."""
    if isinstance(offsets, FakeTensor) or offsets.is_meta:
        count = offsets.shape[0] - 1
        return [tokens // max(count, 1)] * count
    return [int(length) for length in offsets.diff().tolist()]


def _forward(*given: Any, **_: Any) -> int:
    of_query, of_value = _products(Flat(*given))
    return of_query + of_value


def _into(_out: Any, _workspace: Any, *given: Any, **_: Any) -> int:
    return _forward(*given)


def _backward(*arguments: Any, **_: Any) -> int:
    of_query, of_value = _products(Flat(*arguments[5:]))
    return 3 * of_query + 2 * of_value


def _backward_into(*arguments: Any, **_: Any) -> int:
    return _backward(*arguments[7:])  # behind six places for gradients and the workspace


def _probabilities(*given: Any, **_: Any) -> int:
    return _products(Flat(*given))[0]


def _probabilities_into(_out: Any, _workspace: Any, *given: Any, **_: Any) -> int:
    return _probabilities(*given)


_operators = torch.ops.tilewise
for _operator, _formula in (
    (_operators.attention, _forward),
    (_operators.attention_into, _into),
    (_operators.attention_backward, _backward),
    (into_packet, _backward_into),
    (probabilities_packet, _probabilities),
    (probabilities_into_packet, _probabilities_into),
):
    register_flop_formula(_operator, get_raw=True)(_formula)
    flop_registry.setdefault(_operator, _formula)  # torch 2.4 looks for this
