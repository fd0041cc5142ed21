"""What a call would do: its plan in words or as data, its workspace, and the GPU's kernels."""

from __future__ import annotations

import ctypes
import json as json_text
import re
import threading
from ctypes import byref
from typing import TYPE_CHECKING, Any, Literal, Union, cast, overload

from tilewise import _abi, _dtypes, _forms, _library
from tilewise import _arguments as check
from tilewise._borrower import Blank
from tilewise._call import Call, Operands
from tilewise._frameworks import Framework, framework_of
from tilewise._numpy import NUMPY
from tilewise._slots import SLOTS
from tilewise.options import Array, Options, with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

ArrayOrShape = Union[Array, "tuple[int, ...]"]
Operation = Literal["forward", "backward", "probabilities"]

_LIKELY_BYTES = 4096
_OLDEST_DRIVER = 12  # the major CUDA version
_OPERATIONS = {operation.name.lower(): operation for operation in _abi.Operation}


@overload
def explain(
    query: ArrayOrShape,
    key: ArrayOrShape,
    value: ArrayOrShape,
    *,
    dtype: Any = ...,
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
    dtype: Any = ...,
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
    dtype: Any = None,
    operation: Operation = "forward",
    json: bool = False,
    **options: Unpack[Options],
) -> str | dict[str, Any]:
    """Which backend runs a call and how: its kernels, tile, workspace, work, traffic and time.

    query, key and value are arrays or just their shapes. `dtype` is the type of what is given as a
    shape, float32 by default; if arrays are given as well, it must be theirs. operation is
    "forward", "backward" or "probabilities". With json=True the answer is a dict.

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
    dtype: Any = None,
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


def make_ready(
    query: ArrayOrShape,
    key: ArrayOrShape,
    value: ArrayOrShape,
    *,
    dtype: Any = None,
    operation: Operation = "forward",
    **options: Any,
) -> None:
    """Does ahead of time what the first call with these arguments would do: starts threads,
    and finds or compiles the kernels of a GPU.

    Takes explain's arguments, and raises if the call could not run.
    """
    call, number = _planned((query, key, value), dtype, operation, cast("Options", options))
    plan = call.plan()
    _library.call("tw_prepare", number, byref(call.request), byref(plan))


def kernels(
    names: str | None = None, *, architectures: str | None = None, driver: str | None = None
) -> dict[str, Any]:
    """The GPU's kernels: where a call would find each (pack, cache, not yet), and its registers,
    shared memory, bytes and seconds of compiling.

    `names` and `architectures` have commas between; names may be patterns as "*forward*". All
    kernels are listed when none is named, and for this machine's GPUs when no architecture is.
    `driver` is the CUDA version of the driver that will load them, as "12.4"; by default that of
    this machine's driver, or any version if the machine has no driver.

    >>> import tilewise
    >>> [row["arch"] for row in tilewise.kernels("*plain_merge", architectures="sm_90")["kernels"]]
    ['sm_90']
    """
    choice, _texts = _kernel_choice(names, architectures, driver)
    return cast(
        "dict[str, Any]",
        json_text.loads(_written("tw_kernels", byref(choice), int(_abi.Format.JSON))),
    )


def build_kernels(
    names: str | None = None, *, architectures: str | None = None, driver: str | None = None
) -> int:
    """Compiles the GPU's kernels into this user's cache, so that calls need not compile them.

    Takes the arguments of `kernels`. Returns how many kernels these name, those included that were
    in the pack or the cache before. Kernels with features compiled in are built only if named in
    full. Building needs NVRTC (pip install nvidia-cuda-nvrtc-cu12) and no GPU. A machine with a GPU
    that finds this cache needs no NVRTC for these kernels. Control-C stops the build after the
    kernels that are being compiled.

    >>> import tilewise
    >>> tilewise.build_kernels("*plain_merge", architectures="sm_90")  # doctest: +SKIP
    1
    """
    choice, _texts = _kernel_choice(names, architectures, driver)
    build = _Build(choice)
    build.start()
    try:
        # The main thread waits in Python, because Python handles no signal while that thread is in
        # the library. It does not call join(), which takes a thread for ended once interrupted.
        while not build.is_over.wait(0.1):
            pass
    except BaseException:
        build.is_wanted = False
        build.is_over.wait()
        raise
    if build.error is not None:
        raise build.error
    return build.total


class _Build(threading.Thread):
    """A build in a thread of its own, which ends early once is_wanted is False."""

    def __init__(self, choice: _abi.KernelChoice) -> None:
        super().__init__(daemon=True)
        self._choice = choice
        self.is_wanted = True
        self.is_over = threading.Event()
        self.total = 0
        self.error: Exception | None = None

    def run(self) -> None:
        def tell(_host: object, _done: int, of: int, _what: object) -> int:
            self.total = of
            return int(self.is_wanted)

        try:
            _library.call("tw_build_kernels", byref(self._choice), _abi.Progress(tell), None)
        except Exception as error:  # raised by whoever has begun it
            self.error = error
        finally:
            self.is_over.set()


def clear_kernels() -> int:
    """Empties the cache of the GPU's kernels; returns how many files that were.

    >>> import tilewise
    >>> tilewise.clear_kernels()  # doctest: +SKIP
    1
    """
    removed = ctypes.c_int64()
    _library.call("tw_clear_kernels", byref(removed))
    return removed.value


def _kernel_choice(
    names: str | None, architectures: str | None, driver: str | None
) -> tuple[_abi.KernelChoice, list[Any]]:
    """The library's choice of kernels, and the texts that it points at."""
    choice = _abi.KernelChoice(driver_version=_driver_version(driver))
    texts = []
    for key, text in (("names", names), ("architectures", architectures)):
        if text is not None and not isinstance(text, str):
            raise TypeError(
                f"{key} is a {type(text).__name__}; it must be a str, with commas between several."
            )
        if text:
            texts.append(ctypes.create_string_buffer(text.encode()))
            setattr(choice, key, ctypes.cast(texts[-1], ctypes.POINTER(ctypes.c_char)))
    return choice, texts


def _driver_version(driver: str | None) -> int:
    """12040 for "12.4"; 0 for None."""
    if driver is None:
        return 0
    if not isinstance(driver, str):
        raise TypeError(f"driver is a {type(driver).__name__}; it must be a str, as '12.4'.")
    match = re.fullmatch(r"([0-9]{2})\.([0-9])", driver)
    if not match or int(match[1]) < _OLDEST_DRIVER:
        raise ValueError(
            f"driver is {driver!r}; it must be a CUDA version from 12.0 on, as '12.4'."
        )
    return int(match[1]) * 1000 + int(match[2]) * 10


def _planned(
    given: tuple[ArrayOrShape, ArrayOrShape, ArrayOrShape],
    dtype: Any,
    operation: str,
    options: Options,
) -> tuple[Call, int]:
    """A call with blank results, and the number of its operation."""
    if operation not in _OPERATIONS:
        raise ValueError(f"operation is {operation!r}; it must be one of {', '.join(_OPERATIONS)}.")
    framework = _framework_of(given, dtype, options)
    code = _code_of(framework, "float32" if dtype is None else dtype)
    operands: list[Any] = []
    for name, item in zip(("query", "key", "value"), given):
        if isinstance(item, (tuple, list)):
            shape = tuple(check.integer(f"{name}'s shape", size, low=0) for size in item)
            operands.append(Blank(shape, code))
            continue
        if dtype is not None and framework.is_array(item) and framework.code(item) != code:
            raise ValueError(
                f"{name} is an array of {framework.dtype_name(item)}, but dtype is {dtype!r}; an "
                "array has its own type, so leave dtype out or make them agree."
            )
        operands.append(item)
    call = Call(framework, _forms.ask(options), Operands(*operands))
    number = _OPERATIONS[operation]
    call.blank_results(number)
    return call, number


def _code_of(framework: Framework, dtype: Any) -> int:
    """The number of a type. A type's name needs no framework, which may lack the type itself."""
    if isinstance(dtype, str) and dtype in _dtypes.FLOATS:
        return int(_dtypes.CODES[dtype])
    return framework.dtype_code("dtype", dtype)


def _framework_of(given: tuple[Any, ...], dtype: Any, options: Any) -> Framework:
    """The framework of a plan's arrays, or of its dtype; otherwise NumPy."""
    arrays = (item for item in given if not isinstance(item, (tuple, list)))
    for item in arrays:
        return framework_of("query", item)
    for name in SLOTS:
        value = options.get(name)
        if hasattr(value, "shape"):
            return framework_of(name, value)
    if type(dtype).__module__ == "torch":
        from tilewise.torch import TORCH

        return TORCH
    return NUMPY


def _explanation(call: Call, operation: int, form: int) -> str:
    plan = call.plan()
    return _written("tw_explain", operation, byref(call.request), byref(plan), form)


def _written(name: str, *arguments: Any) -> str:
    """The text of a function whose arguments end in (text, text_bytes, needed)."""
    needed = ctypes.c_size_t(_LIKELY_BYTES)
    while True:
        room = needed.value
        text = ctypes.create_string_buffer(room)
        _library.call(name, *arguments, text, room, byref(needed))
        if needed.value <= room:
            return text.value.decode("utf-8", "replace")
