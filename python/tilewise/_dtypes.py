"""Element types by the library's numbers, so that no framework's own types are needed here."""

from __future__ import annotations

from tilewise._abi import Dtype

CODES: dict[str, int] = {
    "float32": Dtype.FLOAT32,
    "float64": Dtype.FLOAT64,
    "float16": Dtype.FLOAT16,
    "bfloat16": Dtype.BFLOAT16,
    "float8_e4m3fn": Dtype.FLOAT8_E4M3,
    "float8_e5m2": Dtype.FLOAT8_E5M2,
    "bool": Dtype.BOOL,
    "int32": Dtype.INT32,
    "int64": Dtype.INT64,
}
NAMES: dict[int, str] = {int(code): name for name, code in CODES.items()}
FLOATS: tuple[str, ...] = tuple(name for name in CODES if "float" in name)
FLOAT_CODES = frozenset(int(CODES[name]) for name in FLOATS)
_BYTES = {1: 4, 2: 8, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1, 8: 4, 9: 8}


def item_bytes(code: int) -> int:
    return _BYTES[code]


def default_code(code: int) -> int:
    """The type of results: that of the inputs, but bfloat16 for types of 8 bits."""
    return Dtype.BFLOAT16 if _BYTES[code] == 1 else code


def wide_code(code: int) -> int:
    """For query's type, the type of lse and probabilities, and the widest of slopes."""
    return Dtype.FLOAT64 if code == Dtype.FLOAT64 else Dtype.FLOAT32
