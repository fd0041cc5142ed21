"""A request under construction: its shapes, the results it makes, and how it is run."""

from __future__ import annotations

import ctypes
from ctypes import byref, pointer
from typing import Any, NamedTuple

import numpy as np

from tilewise import _abi, _device, _library, _request
from tilewise._tensor import (
    Array,
    Blank,
    Borrower,
    Operand,
    default_dtype,
    reals,
    require_array,
    wide_dtype,
)
from tilewise.options import Settings

_CACHE_LINE = 64


class Operands(NamedTuple):
    """What attention reads; arrays, or blanks when a call is only planned."""

    query: Operand
    key: Operand
    value: Operand | None


class Extent(NamedTuple):
    """The sizes that the shapes of results are made of."""

    batch: int
    heads: int
    queries: int
    keys: int


class Call:
    """One request with its options. It lives until the library is done with the arrays."""

    def __init__(self, settings: Settings, operands: Operands) -> None:
        self.borrow = Borrower()
        self.settings = settings
        self.operands = operands
        self.request = _abi.Request()
        self.is_packed = settings.query_offsets is not None
        for name, operand in operands._asdict().items():
            if operand is not None:
                _check_rank(name, operand, settings)
                setattr(self.request, name, self.borrow.input(name, operand))
        wide = wide_dtype(operands.query.dtype)
        self.options = _request.build_options(settings, self.borrow, wide)
        self.request.options = pointer(self.options)
        for name, given in (("mask", settings.mask), ("bias", settings.bias)):
            if given is not None:
                self._check_rows(name, np.shape(given))

    def _check_rows(self, name: str, shape: tuple[int, ...]) -> None:
        """What looks like (batch, keys) is read as (queries, keys), and would not be understood."""
        if len(shape) != 2 or self.is_packed:
            return
        batch, _, queries, keys = self.extent()
        if shape == (batch, keys) and batch not in (1, queries):
            raise ValueError(
                f"{name} has shape {shape}, which is read as (queries, keys), but there are "
                f"{queries} queries. When it goes by sequence, as padding does, give "
                f"{name}[:, None, None], of shape (batch, 1, 1, keys)."
            )

    @property
    def writes_every_row(self) -> bool:
        """Whether a sequence owns each row of the arrays; otherwise results start as zeros."""
        options = self.options
        return not (options.queries or options.keys or options.cache)

    def output_shape(self) -> tuple[int, ...]:
        value = self.operands.value
        assert value is not None
        return (*self.operands.query.shape[:-1], value.shape[-1])

    def lse_shape(self) -> tuple[int, ...]:
        *leading, heads, _ = self.operands.query.shape
        return (heads, *leading) if self.is_packed else (leading[0], heads, leading[1])

    def result(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
        """A new array for a result; rows that no sequence owns stay 0."""
        dtype = default_dtype(self.operands.query.dtype) if dtype is None else dtype
        return np.empty(shape, dtype) if self.writes_every_row else np.zeros(shape, dtype)

    def result_lse(self) -> Array:
        """A new array for the lse; rows that no sequence owns see nothing, so they stay -inf."""
        return np.full(self.lse_shape(), -np.inf, wide_dtype(self.operands.query.dtype))

    def extent(self) -> Extent:
        """The sizes of the score matrix: as large as the longest sequences may be, no larger."""
        settings = self.settings
        query, key = self.operands.query.shape, self.operands.key.shape
        queries = _longest(settings.query_offsets, settings.max_query_length, query)
        keys = _longest(settings.key_offsets, settings.max_key_length, key)
        if settings.page_table is not None:
            keys = int(np.asarray(settings.page_table).shape[-1]) * key[1]
        batch = query[0] if not self.is_packed else len(np.asarray(settings.query_offsets)) - 1
        return Extent(batch=batch, heads=query[-2], queries=queries, keys=keys)

    def gradient_blanks(self) -> dict[str, Blank]:
        """Shape and type of each gradient that this call can have, by its field of Gradients."""
        blanks = {
            name: Blank(operand.shape, default_dtype(operand.dtype))
            for name, operand in self.operands._asdict().items()
            if operand is not None
        }
        settings, wide = self.settings, wide_dtype(self.operands.query.dtype)
        if settings.bias is not None:
            bias = np.asarray(settings.bias)
            blanks["bias"] = Blank(bias.shape, default_dtype(bias.dtype))
        for name, given in (("slopes", settings.alibi_slopes), ("sinks", settings.sinks)):
            if given is not None:
                taken_as = reals(name, given, wide)
                blanks[name] = Blank(taken_as.shape, taken_as.dtype)
        return blanks

    def blank_results(self, operation: int) -> None:
        """Adds the results of an operation as blanks, which is enough to plan it."""
        dtype = default_dtype(self.operands.query.dtype)
        if operation == _abi.Operation.PROBABILITIES:
            dtype = wide_dtype(self.operands.query.dtype)
            self.request.output = self.borrow.input("output", Blank(self.extent(), dtype))
            return
        output = self.borrow.input("output", Blank(self.output_shape(), dtype))
        lse = Blank(self.lse_shape(), wide_dtype(self.operands.query.dtype))
        self.request.output, self.request.lse = output, self.borrow.input("lse", lse)
        if operation == _abi.Operation.BACKWARD:
            gradients = _abi.Gradients(output=output)
            for name, blank in self.gradient_blanks().items():
                shape = (
                    (1,) * (4 - len(blank.shape)) + blank.shape if name == "bias" else blank.shape
                )
                setattr(gradients, name, self.borrow.input(name, Blank(shape, blank.dtype)))
            self.request.gradients = pointer(gradients)

    def workspace_bytes(self, operation: int) -> int:
        needed = ctypes.c_size_t()
        plan = _device.execution(self.settings.threads, self.settings.device, self.request)
        _library.call(
            "tw_workspace", int(operation), byref(self.request), byref(plan), byref(needed)
        )
        return needed.value

    def run(self, name: str, operation: int, workspace: Array | None) -> None:
        """Runs the operation in the caller's workspace, or in one of the size that it takes."""
        if _device.is_gpu(self.settings.device):
            if workspace is not None:
                raise ValueError(
                    "workspace lies on the host and the call runs on a GPU, which gets one of its "
                    "own; leave it out."
                )
            _device.attend_there(name, operation, self.request, self.settings)
            return
        plan = _device.execution(self.settings.threads, "cpu", self.request)
        if workspace is None:
            workspace = _new_workspace(self.workspace_bytes(operation))
        _check_workspace(workspace)
        plan.workspace, plan.workspace_bytes = workspace.ctypes.data, workspace.nbytes
        _library.call(name, byref(self.request), byref(plan))


def taken(name: str, given: Array | None, default: Array) -> Array:
    """The caller's array for a result, or the new one."""
    return default if given is None else require_array(name, given)


def _check_rank(name: str, operand: Operand, settings: Settings) -> None:
    """Results are shaped after these ranks, so they have to be right before the library looks."""
    side = "query" if name == "query" else "key"
    is_packed = getattr(settings, f"{side}_offsets") is not None
    wanted = 3 if is_packed else 4
    if len(operand.shape) != wanted:
        packed = "packed (tokens, heads, dim)" if is_packed else "(batch, length, heads, dim)"
        change = f"without {side}_offsets" if is_packed else f"with {side}_offsets"
        raise ValueError(
            f"{name} has {len(operand.shape)} dimensions, shape {tuple(operand.shape)}; it takes "
            f"{wanted}, {packed}. {change.capitalize()} it takes {7 - wanted}."
        )


def _longest(offsets: Any, bound: int | None, shape: tuple[int, ...]) -> int:
    if offsets is None:
        return shape[1]
    if bound:
        return min(int(bound), shape[0])
    lengths = np.diff(np.asarray(offsets))
    return min(max(int(lengths.max()), 0), shape[0]) if lengths.size else 0


def _new_workspace(size: int) -> Array:
    """Of `size` bytes that begin on a cache line."""
    room = np.empty(size + _CACHE_LINE, np.uint8)
    first = -room.ctypes.data % _CACHE_LINE
    return room[first : first + size]


def _check_workspace(workspace: object) -> None:
    if not isinstance(workspace, np.ndarray):
        raise TypeError(
            f"workspace is a {type(workspace).__name__}; pass a NumPy array of the number of bytes "
            "that tilewise.workspace_bytes gives."
        )
    if not (workspace.flags.c_contiguous and workspace.flags.writeable):
        raise ValueError("workspace must be a contiguous array that may be written.")
