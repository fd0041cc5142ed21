"""The C face, tilewise.h and devices.h, in ctypes: enums, structs, functions.

This module only declares. tests/test_abi.py compares names, sizes and offsets with the two headers.
"""

from __future__ import annotations

import ctypes
import enum
from ctypes import (
    POINTER,
    c_char_p,
    c_double,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

# The major and minor version: before 1.0 either may change the ABI.
ABI = (0, 3)


class Status(enum.IntEnum):
    OK = 0
    INVALID = 1
    UNSUPPORTED = 2
    FAILED = 3


class Fault(enum.IntFlag):
    LENGTH = 1
    TABLE = 2
    POSITION = 4


class Dtype(enum.IntEnum):
    FLOAT32 = 1
    FLOAT64 = 2
    FLOAT16 = 3
    BFLOAT16 = 4
    FLOAT8_E4M3 = 5
    FLOAT8_E5M2 = 6
    BOOL = 7
    INT32 = 8
    INT64 = 9


class Diagonal(enum.IntEnum):
    BOTTOM_RIGHT = 0
    TOP_LEFT = 1
    SHIFTED = 2


class Operation(enum.IntEnum):
    FORWARD = 0
    BACKWARD = 1
    PROBABILITIES = 2


class DeviceKind(enum.IntEnum):
    CPU = 0
    CUDA = 1


class Format(enum.IntEnum):
    TEXT = 0
    JSON = 1


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("byte_offset", c_int64),
        ("byte_size", c_int64),
        ("shape", c_int64 * 4),
        ("stride", c_int64 * 4),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("reserved", c_int64 * 4),
    ]


class SizedStructure(ctypes.Structure):
    """A struct whose first member is its own size, which is filled in here."""

    def __init__(self, **members: Any) -> None:
        super().__init__(size=ctypes.sizeof(type(self)), **members)


class Mask(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("has_left", c_int32),
        ("has_right", c_int32),
        ("left", c_int64),
        ("right", c_int64),
        ("diagonal", c_int32),
        ("shift", c_int64),
        ("chunk", c_int64),
        ("visible", Tensor),
        ("blocks", Tensor),
        ("block_query", c_int32),
        ("block_key", c_int32),
    ]


class Scores(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("has_scale", c_int32),
        ("scale", c_double),
        ("softcap", c_double),
        ("slopes", Tensor),
        ("bias", Tensor),
        ("sinks", Tensor),
    ]


class Dropout(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("probability", c_double),
        ("seed", c_uint64),
        ("offset", c_uint64),
        ("state", POINTER(c_uint64)),
        ("base", c_int64 * 4),
    ]


class Sequences(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("offsets", Tensor),
        ("used", Tensor),
        ("start", Tensor),
        ("max_length", c_int64),
    ]


class Cache(SizedStructure):
    _fields_ = [("size", c_size_t), ("page_table", Tensor), ("batch_index", Tensor)]


class Scaling(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("query", Tensor),
        ("key", Tensor),
        ("value", Tensor),
        ("output_gradient", Tensor),
    ]


class Options(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("mask", POINTER(Mask)),
        ("scores", POINTER(Scores)),
        ("dropout", POINTER(Dropout)),
        ("queries", POINTER(Sequences)),
        ("keys", POINTER(Sequences)),
        ("cache", POINTER(Cache)),
        ("scaling", POINTER(Scaling)),
        ("deterministic", c_int32),
    ]


class Gradients(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("output", Tensor),
        ("lse", Tensor),
        ("query", Tensor),
        ("key", Tensor),
        ("value", Tensor),
        ("bias", Tensor),
        ("slopes", Tensor),
        ("sinks", Tensor),
    ]


class Request(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("query", Tensor),
        ("key", Tensor),
        ("value", Tensor),
        ("output", Tensor),
        ("lse", Tensor),
        ("options", POINTER(Options)),
        ("gradients", POINTER(Gradients)),
    ]


class Device(ctypes.Structure):
    _fields_ = [("kind", c_int32), ("index", c_int32)]


class DeviceFacts(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("name", ctypes.c_char * 128),
        ("architecture", c_int32),
        ("processors", c_int32),
        ("clock_khz", c_int32),
        ("driver", c_int32),
        ("memory_bytes", c_uint64),
    ]


Task = ctypes.CFUNCTYPE(None, c_void_p, c_int64, c_int32)
ParallelFor = ctypes.CFUNCTYPE(None, c_void_p, c_int64, Task, c_void_p)


class Parallel(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("parallel_for", ParallelFor),
        ("host", c_void_p),
        ("workers", c_int32),
    ]


class Execution(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("device", Device),
        ("stream", c_void_p),
        ("workspace", c_void_p),
        ("workspace_bytes", c_size_t),
        ("threads", c_int32),
        ("parallel", POINTER(Parallel)),
        ("error", POINTER(c_uint32)),
        ("backend", POINTER(ctypes.c_char)),
        ("device_tables", c_int32),
        ("reserved", c_int32),
    ]


class Rotation(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("cosine", Tensor),
        ("sine", Tensor),
        ("interleaved", c_int32),
    ]


class RotaryRequest(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("input", Tensor),
        ("output", Tensor),
        ("rotation", POINTER(Rotation)),
        ("sequences", POINTER(Sequences)),
        ("positions", Tensor),
        ("fixed", c_int32),
        ("inverse", c_int32),
    ]


class AppendRequest(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("key", Tensor),
        ("value", Tensor),
        ("key_cache", Tensor),
        ("value_cache", Tensor),
        ("lengths", Tensor),
        ("keys", POINTER(Sequences)),
        ("cache", POINTER(Cache)),
        ("rotation", POINTER(Rotation)),
        ("query", Tensor),
        ("rotated_query", Tensor),
        ("queries", POINTER(Sequences)),
        ("fixed_query", c_int32),
    ]


class MergeRequest(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("outputs", POINTER(Tensor)),
        ("lses", POINTER(Tensor)),
        ("parts", c_int64),
        ("sinks", Tensor),
        ("output", Tensor),
        ("lse", Tensor),
    ]


class KernelChoice(SizedStructure):
    _fields_ = [
        ("size", c_size_t),
        ("names", POINTER(ctypes.c_char)),
        ("architectures", POINTER(ctypes.c_char)),
        ("driver_version", c_int32),
    ]


Progress = ctypes.CFUNCTYPE(c_int32, c_void_p, c_int64, c_int64, POINTER(ctypes.c_char))

_request, _execution, _bytes = POINTER(Request), POINTER(Execution), POINTER(c_size_t)
# C enums pass as int; the library writes into message and text, so both are buffers, not strings.
_text = ctypes.POINTER(ctypes.c_char)
_message = (_text, c_size_t)
_device = POINTER(Device)

FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "tw_forward": (c_int, (_request, _execution, *_message)),
    "tw_backward": (c_int, (_request, _execution, *_message)),
    "tw_probabilities": (c_int, (_request, _execution, *_message)),
    "tw_workspace": (c_int, (c_int, _request, _execution, _bytes, *_message)),
    "tw_prepare": (c_int, (c_int, _request, _execution, *_message)),
    "tw_explain": (
        c_int,
        (c_int, _request, _execution, c_int, _text, c_size_t, _bytes, *_message),
    ),
    "tw_rotary": (c_int, (POINTER(RotaryRequest), _execution, *_message)),
    "tw_prepare_rotary": (c_int, (POINTER(RotaryRequest), _execution, *_message)),
    "tw_prepare_append": (c_int, (POINTER(AppendRequest), _execution, *_message)),
    "tw_prepare_merge": (c_int, (POINTER(MergeRequest), _execution, *_message)),
    "tw_append": (c_int, (POINTER(AppendRequest), _execution, *_message)),
    "tw_merge": (c_int, (POINTER(MergeRequest), _execution, *_message)),
    "tw_version": (c_char_p, ()),
    "tw_backend_name": (c_char_p, (c_int32,)),
    "tw_dtype_name": (c_char_p, (c_int32,)),
    "tw_dtype_bytes": (c_size_t, (c_int32,)),
    "tw_workspace_rotary": (c_int, (POINTER(RotaryRequest), _execution, _bytes, *_message)),
    "tw_workspace_append": (c_int, (POINTER(AppendRequest), _execution, _bytes, *_message)),
    "tw_take_faults": (c_int, (_execution, POINTER(c_uint32), *_message)),
    "tw_backend_device": (c_int32, (c_int32,)),
    "tw_device_count": (c_int, (c_int32, POINTER(c_int32), *_message)),
    "tw_device_describe": (c_int, (_device, POINTER(DeviceFacts), *_message)),
    "tw_allocate": (c_int, (_device, c_size_t, POINTER(c_void_p), *_message)),
    "tw_free": (c_int, (_device, c_void_p, *_message)),
    "tw_copy": (c_int, (_device, c_void_p, c_void_p, c_size_t, c_void_p, *_message)),
    "tw_synchronize": (c_int, (_device, c_void_p, *_message)),
    "tw_kernels": (
        c_int,
        (POINTER(KernelChoice), c_int, _text, c_size_t, _bytes, *_message),
    ),
    "tw_build_kernels": (c_int, (POINTER(KernelChoice), Progress, c_void_p, *_message)),
    "tw_clear_kernels": (c_int, (POINTER(c_int64), *_message)),
    "tw_add_nvrtc_folder": (c_int, (_text, *_message)),
}


def declare(library: ctypes.CDLL) -> None:
    """Gives each function of the library its argument and result types."""
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
