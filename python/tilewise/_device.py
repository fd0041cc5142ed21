"""Runs calls on the processor, or on a GPU, to which it copies arrays, and the results back."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref
from functools import partial
from typing import Any, Callable, NamedTuple

from tilewise import _abi, _library
from tilewise import _arguments as check

_HERE = _abi.DeviceKind.CPU
# What each function writes, as paths of members in its request.
_WRITTEN: dict[str, frozenset[str]] = {
    "tw_forward": frozenset({"output", "lse"}),
    "tw_probabilities": frozenset({"output"}),
    "tw_backward": frozenset(
        f"gradients.{name}" for name in ("query", "key", "value", "bias", "slopes", "sinks")
    ),
    "tw_rotary": frozenset({"output"}),
    "tw_append": frozenset({"key_cache", "value_cache", "rotated_query"}),
    "tw_merge": frozenset({"output", "lse"}),
}


def devices() -> list[str]:
    """The names of the devices that calls can run on: "cpu", and each GPU that can be used.

    The option `device` takes these names. A GPU that cannot be used is not listed; a call with its
    name raises an exception that says why.

    >>> import tilewise
    >>> tilewise.devices()[0]
    'cpu'
    """
    count = ctypes.c_int32()
    try:
        _library.call("tw_device_count", int(_abi.DeviceKind.CUDA), byref(count))
    except NotImplementedError:
        return ["cpu"]
    names = [f"cuda:{index}" for index in range(count.value)]
    return ["cpu", *filter(_is_usable, names)]


def why_no_gpu() -> str:
    """The library's sentence why no GPU can be used; empty if one can."""
    count = ctypes.c_int32()
    try:
        _library.call("tw_device_count", int(_abi.DeviceKind.CUDA), byref(count))
    except NotImplementedError as error:
        return str(error)
    return ""


def _is_usable(name: str) -> bool:
    facts = _abi.DeviceFacts()
    try:
        _library.call("tw_device_describe", byref(parsed(name)), byref(facts))
    except NotImplementedError:
        return False
    return True


def is_gpu(device: object) -> bool:
    """Whether `device` is another device than the processor."""
    return device != "cpu" and parsed(device).kind != _HERE


def parsed(device: object) -> _abi.Device:
    """ "cpu", "cuda" or "cuda:N" as the library's device."""
    if not isinstance(device, str):
        raise TypeError(
            f"device is a {type(device).__name__}; it must be 'cpu', 'cuda' or 'cuda:N'."
        )
    kind, colon, index = device.partition(":")
    if device == "cpu":
        return _abi.Device(kind=_HERE)
    if kind != "cuda" or (colon and not (index.isascii() and index.isdigit() and len(index) < 5)):
        raise ValueError(f"device is {device!r}; it must be 'cpu', 'cuda' or 'cuda:N'.")
    return _abi.Device(kind=_abi.DeviceKind.CUDA, index=int(index or 0))


def execution(threads: int, device: object, request: ctypes.Structure) -> _abi.Execution:
    """The execution of a request, without a workspace; arrays may still be on the host."""
    plan = _abi.Execution(threads=check.integer("threads", threads, 0, 2**31 - 1))
    if is_gpu(device):
        plan.device, plan.device_tables = parsed(device), 1
        _bound_lengths(request)
    return plan


def call(name: str, request: ctypes.Structure, threads: int, device: object) -> None:
    """Makes a call that takes no workspace: rotary, append or merge."""
    if not is_gpu(device):
        _library.call(name, byref(request), byref(execution(threads, device, request)))
        return

    def check_here(here: _abi.Execution) -> None:
        _library.call(name.replace("tw_", "tw_prepare_"), byref(request), byref(here))

    _call_there(
        name,
        request,
        execution_of=lambda: execution(threads, device, request),
        check_here=check_here,
        workspace_bytes=lambda _: 0,
    )


def attend_there(
    name: str, operation: int, request: _abi.Request, threads: int, device: object
) -> None:
    """Makes a call of attention on a GPU, in a workspace of its own."""

    def workspace_bytes(plan: _abi.Execution) -> int:
        needed = ctypes.c_size_t()
        _library.call("tw_workspace", int(operation), byref(request), byref(plan), byref(needed))
        return needed.value

    _call_there(
        name,
        request,
        execution_of=lambda: execution(threads, device, request),
        check_here=workspace_bytes,
        workspace_bytes=workspace_bytes,
    )


def _call_there(
    name: str,
    request: ctypes.Structure,
    *,
    execution_of: Callable[[], _abi.Execution],
    check_here: Callable[[_abi.Execution], object],
    workspace_bytes: Callable[[_abi.Execution], int],
) -> None:
    # The processor checks the tables first: on a device nobody does before a call.
    check_here(_last_resort())
    plan = execution_of()
    needed = workspace_bytes(plan)
    with _Memory(plan.device) as memory:
        ranges = memory.move(request, _WRITTEN[name])
        if needed:
            plan.workspace, plan.workspace_bytes = memory.allocate(needed), needed
        _library.call(name, byref(request), byref(plan))
        memory.bring_back(ranges)


def _last_resort() -> _abi.Execution:
    """An execution by the processor's last backend, which takes every valid call."""
    here = [
        name for i, name in enumerate(_library.backends()) if _library.backend_device(i) == _HERE
    ]
    held = ctypes.create_string_buffer(here[-1].encode())
    return _abi.Execution(backend=held)


class _Place(NamedTuple):
    """A range of the host's bytes that a request points at, and how to point it elsewhere."""

    begin: int
    end: int
    point: Callable[[int], None]
    is_written: bool


class _Range(NamedTuple):
    """A range of device memory that was written, and where it belongs on the host."""

    there: int
    here: int
    size: int


class _Memory:
    """Device memory, released at the end of the `with`."""

    def __init__(self, device: _abi.Device) -> None:
        self._device = device
        self._held: list[int] = []

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *_: object) -> None:
        for address in self._held:
            _library.call("tw_free", byref(self._device), address)

    def allocate(self, count: int) -> int:
        address = ctypes.c_void_p()
        _library.call("tw_allocate", byref(self._device), count, byref(address))
        assert address.value is not None
        self._held.append(address.value)
        return address.value

    def move(self, request: ctypes.Structure, written: frozenset[str]) -> list[_Range]:
        """Copies all that the request points at to the device, and points the request there.

        Arrays whose ranges of bytes overlap on the host share one range on the device, too. Results
        may be interleaved slices of one array: copied back from separate ranges, one would
        overwrite the other.
        """
        ranges: list[_Range] = []
        for group in _overlapping(list(_places(request, written))):
            begin, end = group[0].begin, max(place.end for place in group)
            there = self.allocate(end - begin)
            self._copy(there, begin, end - begin)
            for place in group:
                moved = there + place.begin - begin
                place.point(moved)
                if place.is_written:
                    ranges.append(_Range(moved, place.begin, place.end - place.begin))
        return ranges

    def bring_back(self, ranges: list[_Range]) -> None:
        """Copies these ranges into the host's arrays, and waits until all work is done."""
        for part in ranges:
            self._copy(part.here, part.there, part.size)
        _library.call("tw_synchronize", byref(self._device), None)

    def _copy(self, to: int, source: int, count: int) -> None:
        _library.call("tw_copy", byref(self._device), to, source, count, None)


def _overlapping(places: list[_Place]) -> Iterator[list[_Place]]:
    """Groups of places that overlap, sorted by where they begin; groups share no byte."""
    group: list[_Place] = []
    end = 0
    for place in sorted(places, key=lambda each: each.begin):
        if group and place.begin >= end:
            yield group
            group = []
        end = max(end, place.end) if group else place.end
        group.append(place)
    if group:
        yield group


def _places(struct: ctypes.Structure, written: frozenset[str], path: str = "") -> Iterator[_Place]:
    for name, part in _parts(struct):
        where = f"{path}{name}"
        if isinstance(part, _abi.Tensor):
            if part.data and part.byte_size:
                yield _Place(
                    part.data,
                    part.data + part.byte_size,
                    partial(setattr, part, "data"),
                    where in written,
                )
        else:
            yield from _places(part, written, f"{where}.")
    if isinstance(struct, _abi.Dropout) and struct.state:
        begin = ctypes.cast(struct.state, ctypes.c_void_p).value
        assert begin is not None
        kind = ctypes.POINTER(ctypes.c_uint64)
        yield _Place(
            begin,
            begin + 2 * ctypes.sizeof(ctypes.c_uint64),
            lambda address: setattr(struct, "state", ctypes.cast(address, kind)),
            False,
        )


def _parts(struct: ctypes.Structure) -> Iterator[tuple[str, Any]]:
    """The tensors and structs that a struct holds or points at, with the members' names."""
    for field in struct._fields_:
        name, value = field[0], getattr(struct, field[0])
        if isinstance(value, ctypes.Structure):
            yield name, value
        elif isinstance(struct, _abi.MergeRequest) and name in ("outputs", "lses"):
            for part in range(struct.parts):
                yield f"{name}[{part}]", value[part]
        elif isinstance(value, ctypes._Pointer) and value:
            if isinstance(value.contents, ctypes.Structure):
                yield name, value.contents


def _bound_lengths(struct: ctypes.Structure) -> None:
    """Sets a missing max_length from the offsets, which a call on a GPU could not read first."""
    for _, part in _parts(struct):
        if isinstance(part, _abi.Sequences):
            if part.offsets.data and not part.max_length:
                offsets = list(_integers(part.offsets))
                lengths = (after - before for before, after in zip(offsets, offsets[1:]))
                part.max_length = max(1, *lengths, 0)
        elif not isinstance(part, _abi.Tensor):
            _bound_lengths(part)


def _integers(table: _abi.Tensor) -> Iterator[int]:
    kind = ctypes.c_int32 if table.dtype == _abi.Dtype.INT32 else ctypes.c_int64
    step = table.stride[0] * ctypes.sizeof(kind)
    for i in range(table.shape[0]):
        yield kind.from_address(table.data + table.byte_offset + i * step).value
