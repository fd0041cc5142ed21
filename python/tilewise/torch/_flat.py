"""A call as an operator's arguments: every tensor and every number, in one order."""

from __future__ import annotations

import operator
from typing import Any, Callable, NamedTuple

from tilewise.options import DEFAULTS, Options


class Flat(NamedTuple):
    """query, key and value, then the options that are tensors, then the others."""

    query: Any
    key: Any
    value: Any
    # The first three of these have gradients.
    bias: Any
    alibi_slopes: Any
    sinks: Any
    mask: Any
    block_mask: Any
    dropout_state: Any
    query_offsets: Any
    key_offsets: Any
    query_lengths: Any
    key_lengths: Any
    query_start: Any
    key_start: Any
    page_table: Any
    cache_batch_index: Any
    query_factor: Any
    key_factor: Any
    value_factor: Any
    output_gradient_factor: Any
    scale: Any
    causal: Any
    left: Any
    right: Any
    diagonal: Any
    shift: Any
    chunk: Any
    block_size: Any
    softcap: Any
    dropout: Any
    dropout_base: Any
    max_query_length: Any
    max_key_length: Any
    deterministic: Any
    threads: Any
    output_dtype: Any
    heads_first: Any
    grouped: Any

    def arrays(self) -> dict[str, Any]:
        """The options that are tensors and were given, by name."""
        given = ((name, getattr(self, name)) for name in TENSORS)
        return {name: tensor for name, tensor in given if tensor is not None}

    def are_queries_whole(self) -> bool:
        """Whether a sequence owns each row of query."""
        tables = (self.query_offsets, self.query_lengths, self.query_start, self.max_query_length)
        return all(table is None for table in tables)

    def are_keys_whole(self) -> bool:
        """Whether a sequence owns each row of key and value; of a cache it owns only a part."""
        tables = (self.key_offsets, self.key_lengths, self.key_start, self.max_key_length)
        cache = (self.page_table, self.cache_batch_index)
        return all(table is None for table in (*tables, *cache))


_TYPES = {
    "scale": "float?",
    "causal": "bool",
    "left": "SymInt?",
    "right": "SymInt?",
    "diagonal": "str",
    "shift": "SymInt",
    "chunk": "SymInt",
    "block_size": "SymInt[]",
    "softcap": "float",
    "dropout": "float",
    "dropout_base": "SymInt[]",
    "max_query_length": "SymInt?",
    "max_key_length": "SymInt?",
    "deterministic": "bool",
    "threads": "SymInt",
    "output_dtype": "ScalarType?",
    "heads_first": "bool",
    "grouped": "bool",
}
# Options that are passed on unchanged, all but diagonal; those that are lists; and converters.
_PLAIN = {
    name: DEFAULTS.get(name)
    for name in _TYPES
    if name in Options.__annotations__ and name != "diagonal"
}
_LISTS = tuple(name for name in _PLAIN if _TYPES[name] == "SymInt[]")
_CONVERTED: dict[str, Callable[[Any], Any]] = {
    name: {"bool": bool, "float": float}[_TYPES[name]]
    for name in _PLAIN
    if _TYPES[name] in ("bool", "float")
}
_read_plain = operator.attrgetter(*_PLAIN)
ROWS = 3  # query, key, value
COUNT = len(Flat._fields)
TENSORS = Flat._fields[ROWS : COUNT - len(_TYPES)]
SCHEMA = ", ".join(
    (
        *(f"Tensor {name}" for name in Flat._fields[:ROWS]),
        *(f"Tensor? {name}" for name in TENSORS),
        *(f"{_TYPES[name]} {name}" for name in Flat._fields[COUNT - len(_TYPES) :]),
    )
)


def plain_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are passed on unchanged, each with a value."""
    arguments = {name: options.get(name, default) for name, default in _PLAIN.items()}
    for name, convert in _CONVERTED.items():
        arguments[name] = convert(arguments[name])
    for name in _LISTS:
        arguments[name] = list(arguments[name] or ())
    return arguments


def plain_options(flat: Flat) -> dict[str, Any]:
    """The options of plain_arguments again, from the operators' arguments."""
    options = dict(zip(_PLAIN, _read_plain(flat)))
    for name in _LISTS:
        options[name] = tuple(options[name]) or None
    return options
