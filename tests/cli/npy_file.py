"""Writes and reads .npy files with the standard library alone: inputs and outputs of the tests."""

from __future__ import annotations

import ast
import math
import struct
from dataclasses import dataclass
from pathlib import Path

FORMATS = {"<f4": "f", "<f8": "d", "<f2": "e", "<i4": "i", "<i8": "q", "|b1": "?", "<u2": "H"}


@dataclass
class Array:
    """A type as numpy writes it, a shape, and the numbers in C order."""

    kind: str
    shape: tuple[int, ...]
    values: list[float]


def header(kind: str, shape: tuple[int, ...], order: str = "False") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape!r}, }}"


def encode(text: str, data: bytes) -> bytes:
    """A file of format 1.0 with this header, whatever it says."""
    padded = text.encode("latin-1") + b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


def write(path: Path, array: Array) -> Path:
    assert math.prod(array.shape) == len(array.values)
    data = struct.pack(f"<{len(array.values)}{FORMATS[array.kind]}", *array.values)
    path.write_bytes(encode(header(array.kind, array.shape), data))
    return path


def read(path: Path) -> Array:
    content = path.read_bytes()
    assert content.startswith(b"\x93NUMPY\x01\x00")
    start = 10 + struct.unpack_from("<H", content, 8)[0]
    assert start % 64 == 0
    fields = ast.literal_eval(content[10:start].decode("ascii"))
    assert fields["fortran_order"] is False
    kind, shape = fields["descr"], fields["shape"]
    count = math.prod(shape)
    values = struct.unpack(f"<{count}{FORMATS[kind]}", content[start:])
    return Array(kind, shape, list(values))
