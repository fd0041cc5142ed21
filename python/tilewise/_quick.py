"""The quick way: if the extension is there, it reads the arrays and calls the library.

For a call that it cannot take, the extension returns NotImplemented and changes nothing. Where the
extension cannot be loaded (PyPy, Python without the GIL, a package built without Python's headers)
every call goes the slower way, with the same results.
"""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

from tilewise import _library
from tilewise._frameworks import Framework

extension: Any
try:
    extension = importlib.import_module("tilewise._fast")
except ImportError:
    extension = None

# The number of each option's slot, by name; empty without the extension.
PLACES: dict[str, int] = {}
if extension is not None:
    PLACES = {name: place for place, name in enumerate(extension.SLOTS)}
    extension.connect(
        *(
            ctypes.cast(_library.function(name), ctypes.c_void_p).value
            for name in (
                "tw_forward",
                "tw_backward",
                "tw_workspace",
                "tw_rotary",
                "tw_append",
            )
        ),
        _library.refuse,
    )


def adopt(
    framework: Framework, types: tuple[type, ...], dtypes: dict[Any, int], empty_like: Any
) -> None:
    """Lets the extension read arrays of exactly these types."""
    if extension is not None:
        stream = getattr(framework, "raw_stream", None)
        extension.adopt(types, framework.family, dtypes, empty_like, framework.make, stream)


def pairs(arrays: dict[str, Any]) -> tuple[Any, ...] | None:
    """The array options and the two numbers, as the extension takes them."""
    if not arrays:
        return None
    flat: list[Any] = []
    for name, value in arrays.items():
        flat += (PLACES[name], value)
    return tuple(flat)
