"""What a call would do: its plan in words or as data, its workspace, and the GPU's kernels."""

from __future__ import annotations

import ctypes
import json as json_text
from ctypes import byref
from typing import TYPE_CHECKING, Any, Literal, Union, cast, overload

import numpy as np
import numpy.typing as npt

from tilewise import _abi, _device, _library
from tilewise import _arguments as check
from tilewise._call import Call, Operands
from tilewise._tensor import Array, Blank, Operand, float_dtype, require_array
from tilewise.options import Options, settings, with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

ArrayOrShape = Union[Array, "tuple[int, ...]"]
Operation = Literal["forward", "backward", "probabilities"]

_LIKELY_BYTES = 4096
_OPERATIONS = {operation.name.lower(): operation for operation in _abi.Operation}


@overload
def explain(
    query: ArrayOrShape,
    key: ArrayOrShape,
    value: ArrayOrShape,
    *,
    dtype: npt.DTypeLike = ...,
    operation: Operation = ...,
    json: Literal[False] = ...,
    **options: Unpack[Options],
) -> str: ...


@overload
def explain(
    query: ArrayOrShape,
    key: ArrayOrShape,
    value: ArrayOrShape,
    *,
    dtype: npt.DTypeLike = ...,
    operation: Operation = ...,
    json: Literal[True],
    **options: Unpack[Options],
) -> dict[str, Any]: ...


@with_options
def explain(
    query: ArrayOrShape,
    key: ArrayOrShape,
    value: ArrayOrShape,
    *,
    dtype: npt.DTypeLike = np.float32,
    operation: Operation = "forward",
    json: bool = False,
    **options: Unpack[Options],
) -> str | dict[str, Any]:
    """Which backend runs a call and why, with which tile, workspace, work, traffic and time.

    query, key and value are arrays or just their shapes, with `dtype` for all that are shapes.
    operation is "forward", "backward" or "probabilities". With json=True the answer is a dict.

    >>> import tilewise
    >>> shape = (2, 128, 8, 64)
    >>> "backend" in tilewise.explain(shape, shape, shape, causal=True, json=True)
    True
    """
    call, number = _planned((query, key, value), dtype, operation, options)
    form = _abi.Format.JSON if check.flag("json", json) else _abi.Format.TEXT
    text = _explanation(call, number, form)
    return json_text.loads(text) if json else text


@with_options
def workspace_bytes(
    query: ArrayOrShape,
    key: ArrayOrShape,
    value: ArrayOrShape,
    *,
    dtype: npt.DTypeLike = np.float32,
    operation: Operation = "forward",
    **options: Unpack[Options],
) -> int:
    """The bytes of scratch memory that a call takes, for those who keep a workspace of their own.

    Takes what explain takes. Calls that give fewer results may need less, never more.

    >>> import numpy, tilewise
    >>> query = key = value = numpy.ones((1, 8, 2, 16), numpy.float32)
    >>> workspace = numpy.empty(tilewise.workspace_bytes(query, key, value), numpy.uint8)
    >>> tilewise.attention(query, key, value, workspace=workspace).shape
    (1, 8, 2, 16)
    """
    call, number = _planned((query, key, value), dtype, operation, options)
    return call.workspace_bytes(number)


def kernels(names: str | None = None, *, architectures: str | None = None) -> dict[str, Any]:
    """The GPU's kernels: where a call would find each, and what it takes.

    `names` and `architectures` have commas between; names may be patterns as "*forward*". All
    kernels are listed when none is named, and for this machine's GPUs when no architecture is.

    >>> import tilewise
    >>> [row["arch"] for row in tilewise.kernels("*_merge", architectures="sm_90")["kernels"]]
    ['sm_90']
    """
    choice = _abi.KernelChoice()
    given = {"names": names, "architectures": architectures}
    texts = {key: ctypes.create_string_buffer(text.encode()) for key, text in given.items() if text}
    for key, text in texts.items():
        setattr(choice, key, ctypes.cast(text, ctypes.POINTER(ctypes.c_char)))
    return cast(
        "dict[str, Any]",
        json_text.loads(_written("tw_kernels", byref(choice), int(_abi.Format.JSON))),
    )


def _planned(
    given: tuple[ArrayOrShape, ArrayOrShape, ArrayOrShape],
    dtype: npt.DTypeLike,
    operation: str,
    options: Options,
) -> tuple[Call, int]:
    """A call with blank results, and the number of its operation."""
    if operation not in _OPERATIONS:
        raise ValueError(f"operation is {operation!r}; it must be one of {', '.join(_OPERATIONS)}.")
    names = ("query", "key", "value")
    operands = Operands(*(_operand(name, item, dtype) for name, item in zip(names, given)))
    call = Call(settings(options), operands)
    number = _OPERATIONS[operation]
    call.blank_results(number)
    return call, number


def _operand(name: str, given: object, dtype: npt.DTypeLike) -> Operand:
    if not isinstance(given, (tuple, list)):
        return require_array(name, given)
    shape = tuple(check.integer(f"{name}'s shape", size, low=0) for size in given)
    return Blank(shape, float_dtype("dtype", dtype))


def _explanation(call: Call, operation: int, form: int) -> str:
    plan = _device.execution(call.settings.threads, call.settings.device, call.request)
    return _written("tw_explain", operation, byref(call.request), byref(plan), form)


def _written(name: str, *arguments: Any) -> str:
    """What a function writes whose arguments end in (text, text_bytes, needed)."""
    needed = ctypes.c_size_t(_LIKELY_BYTES)
    while True:
        room = needed.value
        text = ctypes.create_string_buffer(room)
        _library.call(name, *arguments, text, room, byref(needed))
        if needed.value <= room:
            return text.value.decode("utf-8", "replace")
