"""Where an option that is an array or a number is stored in a request, by the option's name.

The extension has the same table of arrays (python/fast/slots.h); a test compares the two.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Callable, NamedTuple

from tilewise import _abi
from tilewise import _arguments as check
from tilewise._abi import SizedStructure


class Form(ctypes.Structure):
    """What a call asks for besides its arrays; has the members of the extension's Form."""

    _fields_ = [
        ("mask", _abi.Mask),
        ("scores", _abi.Scores),
        ("dropout", _abi.Dropout),
        ("queries", _abi.Sequences),
        ("keys", _abi.Sequences),
        ("deterministic", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("output_dtype", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class Slot(NamedTuple):
    """The place of an array: struct and member, kind of array, and rank."""

    part: str
    member: str
    kind: str  # floats, factors, booleans, integers or pair
    rank: int = 0  # fewer dimensions get leading ones up to it; 0: as it is


# The options that are arrays.
SLOTS: dict[str, Slot] = {
    "bias": Slot("scores", "bias", "floats", 4),
    "alibi_slopes": Slot("scores", "slopes", "factors"),
    "sinks": Slot("scores", "sinks", "factors"),
    "mask": Slot("mask", "visible", "booleans", 4),
    "block_mask": Slot("mask", "blocks", "booleans", 4),
    "dropout_state": Slot("dropout", "state", "pair"),
    "query_offsets": Slot("queries", "offsets", "integers"),
    "query_lengths": Slot("queries", "used", "integers"),
    "query_start": Slot("queries", "start", "integers"),
    "key_offsets": Slot("keys", "offsets", "integers"),
    "key_lengths": Slot("keys", "used", "integers"),
    "key_start": Slot("keys", "start", "integers"),
    "page_table": Slot("cache", "page_table", "integers"),
    "cache_batch_index": Slot("cache", "batch_index", "integers"),
    "query_factor": Slot("scaling", "query", "factors", 2),
    "key_factor": Slot("scaling", "key", "factors", 2),
    "value_factor": Slot("scaling", "value", "factors", 2),
    "output_gradient_factor": Slot("scaling", "output_gradient", "factors", 2),
}


class Number(NamedTuple):
    """The place of a number: struct and member, and the check of its value."""

    part: str
    member: str
    check: Callable[[str, Any], float]


_length = functools.partial(check.integer, low=0)
# The options that are one number each and are stored unchanged. 0 asks for nothing.
NUMBERS: dict[str, Number] = {
    "chunk": Number("mask", "chunk", check.integer),
    "softcap": Number("scores", "softcap", check.real),
    "dropout": Number("dropout", "probability", check.real),
    "max_query_length": Number("queries", "max_length", _length),
    "max_key_length": Number("keys", "max_length", _length),
}
_PARTS: dict[str, type[SizedStructure]] = {
    "mask": _abi.Mask,
    "scores": _abi.Scores,
    "dropout": _abi.Dropout,
    "queries": _abi.Sequences,
    "keys": _abi.Sequences,
    "cache": _abi.Cache,
    "scaling": _abi.Scaling,
}


class Parts:
    """The structs of a request's options, without those that would ask for nothing."""

    def __init__(self, form: bytes) -> None:
        self._form = Form.from_buffer_copy(form)
        self._parts: dict[str, Any] = {}
        self.options = _abi.Options(deterministic=self._form.deterministic)
        self.threads = int(self._form.threads)
        self.output_dtype = int(self._form.output_dtype)
        for name in ("mask", "scores", "dropout", "queries", "keys"):
            if getattr(self._form, name).size:
                self.part(name)

    def part(self, name: str) -> Any:
        """The struct of this name, which the options include from now on."""
        found = self._parts.get(name)
        if found is None:
            found = getattr(self._form, name) if hasattr(self._form, name) else _PARTS[name]()
            found.size = ctypes.sizeof(found)
            self._parts[name] = found
            setattr(self.options, name, ctypes.pointer(found))
        return found

    def has(self, name: str) -> bool:
        """Whether the call asks for anything in this struct."""
        return name in self._parts

    @property
    def drops(self) -> bool:
        """Whether weights are dropped; a dropout state alone drops none."""
        return bool(self._form.dropout.size)
