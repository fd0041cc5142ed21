"""A request under construction: its shapes, the results it makes, and how it is run.

This is the slower way of a call. It copies arrays that the library cannot read in place, and says
what is wrong with calls that it cannot run. Most calls take the quick way, by _quick.py.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, pointer
from typing import Any, NamedTuple

from tilewise import _abi, _device, _dtypes, _library
from tilewise._borrower import Blank, Borrower, Operand
from tilewise._forms import Asked
from tilewise._frameworks import CUDA, Fill, Framework, require
from tilewise._slots import SLOTS, Parts

_CACHE_LINE = 64


class Operands(NamedTuple):
    """What attention reads: arrays, or blanks if a call is only planned."""

    query: Operand
    key: Operand
    value: Operand  # None in probabilities, which need none


class Extent(NamedTuple):
    """Sizes of the score matrix, from which the shapes of results are made."""

    batch: int
    heads: int
    queries: int
    keys: int


class Call:
    """A request with its options. Keep it until the library is done with the arrays."""

    def __init__(
        self, framework: Framework, asked: Asked, operands: Operands, threads: int = 0
    ) -> None:
        self.framework = framework
        self.borrow = Borrower(framework)
        self.arrays = asked.arrays
        self.operands = operands
        self.parts = Parts(asked.form)
        self.threads = self.parts.threads or threads
        self.device = asked.device
        if self.device != "cpu" and framework.family != 0:
            refuse_device(framework, self.device)
        self.request = _abi.Request()
        self.request.options = pointer(self.parts.options)
        self.is_packed = "query_offsets" in self.arrays
        for name, operand in operands._asdict().items():
            if operand is not None:
                tensor = self.borrow.floats(name, operand)
                self._check_rank(name, tuple(operand.shape))
                setattr(self.request, name, tensor)
        self.code = int(self.request.query.dtype)
        self.wide = _dtypes.wide_code(self.code)
        self._add_arrays(asked)
        for name in ("mask", "bias"):
            if name in self.arrays:
                self._check_rows(name, tuple(getattr(self.arrays[name], "shape", ())))

    def _add_arrays(self, asked: Asked) -> None:
        for name, value in self.arrays.items():
            slot = SLOTS.get(name)
            if slot is not None:
                part = self.parts.part(slot.part)
                setattr(part, slot.member, self.borrow.option(name, value, slot, self.wide))
        if self.parts.drops:
            dropout = self.parts.part("dropout")
            dropout.offset = self.arrays.get("dropout_offset", 0)
            if "seed" in self.arrays:
                dropout.seed = self.arrays["seed"]
            elif "dropout_state" not in self.arrays:
                dropout.seed = new_seed()
        if asked.has_blocks:
            self.parts.part("mask")

    def _check_rank(self, name: str, shape: tuple[int, ...]) -> None:
        side = "query" if name == "query" else "key"
        require_rank(name, shape, f"{side}_offsets" in self.arrays)

    def _check_rows(self, name: str, shape: tuple[int, ...]) -> None:
        """Refuses a mask or bias of shape (batch, keys), which would be read as (queries, keys)."""
        query, key = self.operands.query.shape, self.operands.key.shape
        if len(shape) != 2 or self.is_packed or "key_offsets" in self.arrays:
            return
        batch, queries = query[0], query[1]
        if shape == (batch, key[1]) and batch not in (1, queries):
            raise ValueError(
                f"{name} has shape {shape}, which is read as (queries, keys), but there are "
                f"{queries} queries. When it goes by sequence, as padding does, give "
                f"{name}[:, None, None], of shape (batch, 1, 1, keys)."
            )

    def fill(self, *sides: str) -> int:
        """What new arrays are filled with: 0 if there are tables of one of these sides, which may
        leave rows that no sequence owns; otherwise nothing."""
        return Fill.ZERO if any(self.parts.has(side) for side in sides) else Fill.NOTHING

    def output_shape(self) -> tuple[int, ...]:
        value = self.operands.value
        return (*self.operands.query.shape[:-1], value.shape[-1])

    def lse_shape(self) -> tuple[int, ...]:
        *leading, heads, _ = self.operands.query.shape
        return (heads, *leading) if self.is_packed else (leading[0], heads, leading[1])

    def result(self, shape: tuple[int, ...], code: int, fill: int) -> Any:
        """A new array on query's device."""
        return self.framework.make(self.borrow.like, shape, code, fill)

    def _result_like(self, array: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:
        """A new array; with `array`'s strides if of its shape and type, and written whole."""
        is_like = fill == Fill.NOTHING and shape == tuple(array.shape)
        if is_like and code == self.framework.code(array):
            return self.framework.empty_like(array)
        return self.result(shape, code, fill)

    def gradient(self, name: str, blank: Blank, fill: int) -> Any:
        """A new array for one of the gradients."""
        option = {"slopes": "alibi_slopes"}.get(name, name)
        like = getattr(self.operands, name, None)
        like = self.arrays.get(option) if like is None else like
        if not self.framework.is_array(like):
            return self.result(*blank, fill)
        return self._result_like(like, *blank, fill)

    def new_output(self) -> Any:
        """A new output. Rows that no sequence owns are 0."""
        code = self.parts.output_dtype or _dtypes.default_code(self.code)
        fill = self.fill("queries")
        return self._result_like(self.operands.query, self.output_shape(), code, fill)

    def new_lse(self) -> Any:
        """A new lse. Rows that no sequence owns see no key, so they are -inf."""
        is_whole = self.fill("queries") == Fill.NOTHING
        fill = Fill.NOTHING if is_whole else Fill.MINUS_INFINITY
        return self.result(self.lse_shape(), self.wide, fill)

    def extent(self) -> Extent:
        """The sizes of the score matrix of the longest sequences."""
        query, key = self.operands.query.shape, self.operands.key.shape
        queries = self._longest("query", query)
        keys = self._longest("key", key)
        if "page_table" in self.arrays:
            keys = int(self._shape("page_table")[-1]) * key[1]
        batch = query[0] if not self.is_packed else self._shape("query_offsets")[0] - 1
        return Extent(batch=batch, heads=query[-2], queries=queries, keys=keys)

    def _shape(self, name: str) -> tuple[int, ...]:
        array = self.framework.asarray(name, self.arrays[name], self.borrow.like)
        return tuple(array.shape)

    def _longest(self, side: str, shape: tuple[int, ...]) -> int:
        name = f"{side}_offsets"
        if name not in self.arrays:
            return shape[1]
        part = self.parts.part("queries" if side == "query" else "keys")
        if part.max_length:
            return min(int(part.max_length), shape[0])
        offsets = self.framework.asarray(name, self.arrays[name], self.borrow.like)
        numbers = self.framework.numbers(offsets)
        if numbers is None:
            raise ValueError(
                f"{name} lies on a device, where nobody reads it now; give max_{side}_length."
            )
        lengths = [after - before for before, after in zip(numbers, numbers[1:])]
        return min(max([*lengths, 0]), shape[0])

    def gradient_blanks(self) -> dict[str, Blank]:
        """Shape and type of each gradient that this call can have, by its name in Gradients."""
        blanks = {
            name: Blank(
                tuple(operand.shape),
                _dtypes.default_code(int(getattr(self.request, name).dtype)),
            )
            for name, operand in self.operands._asdict().items()
            if operand is not None
        }
        if "bias" in self.arrays:
            bias = self.arrays["bias"]
            code = _dtypes.default_code(self.framework.code(bias))
            blanks["bias"] = Blank(tuple(bias.shape), code)
        for name, option in (("slopes", "alibi_slopes"), ("sinks", "sinks")):
            if option in self.arrays:
                given = self.framework.asarray(option, self.arrays[option], self.borrow.like)
                code = self.borrow.factor_code(given, self.wide)
                blanks[name] = Blank(tuple(given.shape), code)
        return blanks

    def blank_results(self, operation: int) -> None:
        """Adds an operation's results as blanks, so that it can be planned."""
        code = self.parts.output_dtype or _dtypes.default_code(self.code)
        if operation == _abi.Operation.PROBABILITIES:
            self.request.output = self.borrow.floats("output", Blank(self.extent(), self.wide))
            return
        output = self.borrow.floats("output", Blank(self.output_shape(), code))
        lse = Blank(self.lse_shape(), self.wide)
        self.request.output, self.request.lse = output, self.borrow.floats("lse", lse)
        if operation == _abi.Operation.BACKWARD:
            gradients = _abi.Gradients(output=output)
            for name, blank in self.gradient_blanks().items():
                rank = 4 if name == "bias" else 0
                setattr(gradients, name, self.borrow.floats(name, blank, rank))
            self.request.gradients = pointer(gradients)

    def workspace_bytes(self, operation: int) -> int:
        needed = ctypes.c_size_t()
        plan = self.plan()
        _library.call(
            "tw_workspace", int(operation), byref(self.request), byref(plan), byref(needed)
        )
        return needed.value

    def plan(self) -> _abi.Execution:
        """The execution: device, threads and stream."""
        return execution(self.borrow, self.threads, self.device, self.request)

    def run(self, name: str, operation: int, workspace: Any) -> None:
        """Runs the operation in the caller's workspace, or in a new one of the size needed."""
        if _device.is_gpu(self.device):
            if workspace is not None:
                raise ValueError(
                    "workspace lies on the host and the call runs on a GPU, which gets one of its "
                    "own; leave it out."
                )
            _device.attend_there(name, operation, self.request, self.threads, self.device)
            return
        plan = self.plan()
        if workspace is None:
            workspace = self._new_workspace(self.workspace_bytes(operation))
            address = _aligned(self._address("workspace", workspace))
            plan.workspace, plan.workspace_bytes = address, workspace.shape[0] - _CACHE_LINE
        else:
            plan.workspace, plan.workspace_bytes = self._given_workspace(workspace)
        _library.call(name, byref(self.request), byref(plan))

    def _new_workspace(self, size: int) -> Any:
        """A new array of `size` bytes and more, so that they can begin on a cache line."""
        shape = (size + _CACHE_LINE,)
        return self.framework.make(self.borrow.like, shape, _abi.Dtype.BOOL, Fill.NOTHING)

    def _address(self, name: str, array: Any) -> int:
        view = self.framework.view(array)
        if view is None:
            raise ValueError(f"{name} must be a contiguous array that may be written.")
        return view.address

    def _given_workspace(self, workspace: Any) -> tuple[int, int]:
        framework = self.framework
        if not framework.is_array(workspace):
            raise TypeError(
                f"workspace is a {type(workspace).__name__}; pass {framework.article} of the "
                "number of bytes that tilewise.workspace_bytes gives."
            )
        require(framework, "workspace", workspace, is_written=True)
        if not framework.is_contiguous(workspace):
            raise ValueError("workspace must be a contiguous array that may be written.")
        if framework.device(workspace) != self.borrow.device:
            raise ValueError("workspace lies on another device than query.")
        return self._address("workspace", workspace), framework.byte_size(workspace)


def _aligned(address: int) -> int:
    return address + -address % _CACHE_LINE


def new_seed() -> int:
    """A seed from the operating system: Python's and NumPy's generators repeat after a fork."""
    return int.from_bytes(os.urandom(8), "little")


def execution(borrow: Borrower, threads: int, device: str, request: Any) -> _abi.Execution:
    """The execution on the arrays' device, or on `device`, to which they are copied."""
    plan = _device.execution(threads, device, request)
    kind, index = borrow.device
    if kind == CUDA:
        plan.device = _abi.Device(kind=kind, index=index)
        plan.stream = borrow.framework.stream(index)
        plan.device_tables = 1
    return plan


def make_call(name: str, request: Any, borrow: Borrower, threads: int, device: str) -> None:
    """Makes a call that takes no workspace: rotary, append or merge."""
    if _device.is_gpu(device):
        _device.call(name, request, threads, device)
        return
    _library.call(name, byref(request), byref(execution(borrow, threads, device, request)))


def require_rank(name: str, shape: tuple[int, ...], is_packed: bool) -> None:
    """Refuses a wrong rank here: results get shapes by the rank before the library checks it."""
    wanted = 3 if is_packed else 4
    if len(shape) == wanted:
        return
    offsets = "query_offsets" if name == "query" else "key_offsets"
    packed = "packed (tokens, heads, dim)" if is_packed else "(batch, length, heads, dim)"
    change = f"Without {offsets}" if is_packed else f"With {offsets}"
    raise ValueError(
        f"{name} has {len(shape)} dimensions, shape {shape}; it takes "
        f"{wanted}, {packed}. {change} it takes {7 - wanted}."
    )


def refuse_device(framework: Framework, device: object) -> None:
    """Refuses `device` with arrays of a framework but NumPy: a call runs where these lie."""
    if device != "cpu":
        raise ValueError(
            f"device is {device!r}, but query is {framework.article}, and a call on those runs "
            "where they lie; move them there instead."
        )


def require_seed(dropout: float, arrays: dict[str, Any], verb: str) -> None:
    """Refuses dropout without a seed in a function that repeats another call's mask."""
    if dropout == 0 or any(arrays.get(name) is not None for name in ("seed", "dropout_state")):
        return
    raise ValueError(
        f"dropout is {dropout} without a seed, so nothing says which weights attention "
        f"dropped, and {verb}. Pick a seed yourself, for example secrets.randbits(64), and give it "
        "to attention and here."
    )
