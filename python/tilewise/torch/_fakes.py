"""Refuses tensors without memory whose shapes do not fit, in the words of a real call."""

from __future__ import annotations

from typing import Any

from tilewise._call import require_rank
from tilewise.torch._flat import Flat


def require_shapes(flat: Flat) -> None:
    """Refuses shapes that do not fit. Sizes still unknown (torch.compile) are left to the call."""
    for name in ("query", "key", "value"):
        offsets = flat.query_offsets if name == "query" else flat.key_offsets
        require_rank(name, tuple(getattr(flat, name).shape), offsets is not None)
    query, key, value = flat.query, flat.key, flat.value
    for name, tensor in {"key": key, "value": value, **flat.arrays()}.items():
        if tensor.device != query.device:
            raise ValueError(
                f"{name} lies on {tensor.device}, but query on {query.device}; the arrays of one "
                "call must lie on one device."
            )
    heads = 1 if flat.heads_first else -2
    if _differ(query.shape[-1], key.shape[-1]):
        raise ValueError(
            f"query has head dim {query.shape[-1]} and key {key.shape[-1]}; they must be the same."
        )
    if any(_differ(n, m) for n, m in zip(key.shape[:-1], value.shape[:-1])):
        raise ValueError(
            f"key has shape {tuple(key.shape)} and value {tuple(value.shape)}; all but the last "
            "dimension must be the same."
        )
    many, few = query.shape[heads], key.shape[heads]
    if isinstance(many, int) and isinstance(few, int) and (few < 1 or many % few):
        raise ValueError(
            f"query has {many} heads and key {few}; query's must be a multiple of key's."
        )


def _differ(one: Any, other: Any) -> bool:
    return isinstance(one, int) and isinstance(other, int) and one != other
