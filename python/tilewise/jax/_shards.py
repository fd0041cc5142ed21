"""A call on arrays that are divided among devices: each device computes its part of the batch and
of the heads.

Queries, keys and dims are whole on each device. Gradients of operands that devices share are summed
over these devices.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Callable

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from tilewise.jax._call import Call, invoke, labels

_Axes = tuple[str, ...]


@functools.lru_cache(maxsize=1024)
def partitioned(call: Call) -> Callable[..., Any]:
    """The call as a function whose operands XLA may divide among devices."""
    function = custom_partitioning(functools.partial(invoke, call))
    function.def_partition(
        partition=functools.partial(_partition, call),
        infer_sharding_from_operands=functools.partial(_infer, call),
        sharding_rule=functools.partial(_rule, call),
    )
    return function


def axes_of(shapes: dict[str, Any], specs: tuple[Any, Any], sizes: Any) -> dict[str, _Axes]:
    """The axes of the mesh that divide each dimension, by letter: query's, or else key's."""
    query, key = ((*spec, None, None, None)[:3] for spec in specs)
    batch, heads = (_as_tuple(query[i]) or _as_tuple(key[i]) for i in (0, 2))
    heads = tuple(axis for axis in heads if axis not in batch)
    key_heads = shapes["key"][2]
    if shapes["query"][0] % _product(batch, sizes) != 0:
        batch = ()
    parts = _product(heads, sizes)
    if shapes["query"][2] % parts != 0 or (key_heads != 1 and key_heads % parts != 0):
        heads = ()
    return {"b": batch, "n": heads, "k": () if key_heads == 1 else heads}


def spec_of(letters: str, axes: dict[str, _Axes]) -> PartitionSpec:
    """The PartitionSpec of an operand or result with these dimensions."""
    return PartitionSpec(*(axes.get(letter) or None for letter in letters))


def _as_tuple(entry: Any) -> _Axes:
    if entry is None or entry is PartitionSpec.UNCONSTRAINED:
        return ()
    return tuple(entry) if isinstance(entry, tuple) else (entry,)


def _product(axes: _Axes, sizes: Any) -> int:
    product = 1
    for axis in axes:
        product *= sizes[axis]
    return product


def _shapes(call: Call, arguments: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in zip(call.operands, arguments)}


def _placed(call: Call, mesh: Any, arguments: Any) -> tuple[dict[str, Any], dict[str, _Axes]]:
    """Each array's letters, and each letter's axes. Without a mesh nothing is divided."""
    shapes = _shapes(call, arguments)
    shardings = (arguments[call.operands.index(name)].sharding for name in ("query", "key"))
    query, key = (getattr(x, "spec", PartitionSpec()) for x in shardings)
    return labels(call, shapes), axes_of(shapes, (query, key), dict(mesh.shape))


def _partition(call: Call, mesh: Any, arguments: Any, _: Any) -> Any:
    letters, axes = _placed(call, mesh, arguments)

    def lower(*operands: Any) -> Any:
        return tuple(
            _summed(x, letters[name], axes)
            for name, x in zip(call.results, invoke(call, *operands))
        )

    wanted = [
        tuple(NamedSharding(mesh, spec_of(letters[name], axes)) for name in names)
        for names in (call.results, call.operands)
    ]
    return mesh, lower, *wanted


def _summed(x: Any, letters: str, axes: dict[str, _Axes]) -> Any:
    """A gradient summed over the devices that share its operand."""
    missing = () if "b" in letters else axes["b"]
    if "n" not in letters and ("k" not in letters or not axes["k"]):
        missing += axes["n"]
    if not missing:
        return x
    return jax.lax.psum(x.astype(jnp.promote_types(x.dtype, jnp.float32)), missing).astype(x.dtype)


def _infer(call: Call, mesh: Any, arguments: Any, _: Any) -> Any:
    letters, axes = _placed(call, mesh, arguments)
    return tuple(NamedSharding(mesh, spec_of(letters[name], axes)) for name in call.results)


def _rule(call: Call, _: Any, operands: Any, __: Any) -> Any:
    """Shardy's rule of the call: which dimensions are the same, and which must stay whole."""
    shapes = {name: tuple(x.shape) for name, x in zip(call.operands, operands)}
    letters = labels(call, shapes)
    whole = {letter for text in letters.values() for letter in text if letter in "tsde"}
    # Heads and key heads of the same number are one factor of the rule. Otherwise each is a factor
    # of its own: for a common one Shardy could split an axis of the mesh and take a part of it.
    # _partition then divides both by the same axes (a single key head by none).
    words = {"k": "n"} if shapes["query"][2] == shapes["key"][2] else {}
    ones = iter(range(1000))

    def side(names: tuple[str, ...]) -> str:
        return ", ".join(" ".join(map(word, letters[name])) for name in names)

    def word(letter: str) -> str:
        return f"one{next(ones)}" if letter == "1" else words.get(letter, letter)

    text = f"{side(call.operands)} -> {side(call.results)}"
    # In the order of their first occurrence, which Shardy requires.
    replicated = tuple(sorted(whole, key=re.findall(r"\w+", text).index))
    return text, {"need_replication_factors": replicated}
