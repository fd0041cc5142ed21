"""One call of the library from XLA: its options, operands and results.

An operand has the same name from here down to C++, where request.cpp lists them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.ffi
import numpy as np

from tilewise.jax import _targets as _targets  # registers what is called here
from tilewise.jax._varying import varying_kind


class Asked(NamedTuple):
    """A call's options that are not arrays. An Asked is hashable, because it is a part of the keys
    of caches of compiled functions."""

    scale: float
    softcap: float = 0.0
    left: int | None = None
    right: int | None = None
    shift: int | None = None  # of the diagonal; None: it begins at the bottom right
    deterministic: bool = False

    def options(self) -> dict[str, Any]:
        """These options as tilewise.Options has them."""
        options = self._asdict()
        options["window"] = (options.pop("left"), options.pop("right"))
        shift = options.pop("shift")
        options["diagonal"] = "bottom_right" if shift is None else shift
        return options

    def attributes(self) -> dict[str, Any]:
        """The attributes that request.cpp reads, without those that are off."""
        given = {
            name: value
            for name, value in self._asdict().items()
            if name not in self._field_defaults or value != self._field_defaults[name]
        }
        return {name: _KINDS[type(value)](value) for name, value in given.items()}


_KINDS: dict[type, Any] = {float: np.float64, int: np.int64, bool: np.int32}


class Call(NamedTuple):
    """An operation, and the names of its operands and results in order."""

    operation: str
    asked: Asked
    operands: tuple[str, ...]
    results: tuple[str, ...]


GRADIENT = "_gradient"
_ROWS = {
    "query": "btnd",
    "key": "bskd",
    "value": "bske",
    "output": "btne",
    "lse": "bnt",
    "query_lengths": "b",
    "key_lengths": "b",
    "sinks": "n",
}


def labels(call: Call, shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """A letter for each dimension of each operand and result, by name.

    b batch, n query heads, k key heads, t queries, s keys, d head dim, e value dim; 1 for a size of
    1 that is broadcast.
    """
    batch, queries, heads, _ = shapes["query"]
    sizes = {"b": batch, "n": heads, "t": queries, "s": shapes["key"][1]}
    found = {}
    for name in (*call.operands, *call.results):
        base = name.removesuffix(GRADIENT)
        if base in _ROWS:
            found[name] = _ROWS[base]
            continue
        letters = "bnts" if base in ("bias", "mask") else "bn"[-len(shapes[base]) :]
        found[name] = "".join(
            letter if size == sizes[letter] else "1" for letter, size in zip(letters, shapes[base])
        )
    return found


def _result(name: str, given: dict[str, Any]) -> tuple[tuple[int, ...], Any]:
    """Shape and type of a result."""
    query = given["query"]
    if name == "output":
        return (*query.shape[:3], given["value"].shape[3]), query.dtype
    if name == "lse":
        batch, queries, heads, _ = query.shape
        wide = np.float64 if query.dtype == np.float64 else np.float32
        return (batch, heads, queries), np.dtype(wide)
    like = given[name.removesuffix(GRADIENT)]
    return like.shape, like.dtype


def invoke(call: Call, *operands: Any) -> tuple[Any, ...]:
    """Makes the call, on whole operands or on those of one shard."""
    given = dict(zip(call.operands, operands))
    varying = varying_kind(given["query"])
    results = tuple(jax.ShapeDtypeStruct(*_result(name, given), **varying) for name in call.results)
    attributes: dict[str, Any] = {
        "operands": " ".join(call.operands),
        "results": " ".join(call.results),
        **call.asked.attributes(),
    }
    target = jax.ffi.ffi_call(f"tilewise_{call.operation}", results, vmap_method="sequential")
    return tuple(target(*operands, **attributes))
