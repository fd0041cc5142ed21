"""Describes arrays to the library, and keeps them alive until the call is over."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

from tilewise import _abi, _dtypes
from tilewise._frameworks import Framework, View, require, require_floats
from tilewise._slots import Slot


class Blank(NamedTuple):
    """Shape and type of a contiguous tensor without memory: enough to plan with."""

    shape: tuple[int, ...]
    code: int


# An array, or a blank.
Operand = Any


class Borrower:
    """The arrays of one call, all of one framework and on the device of the first."""

    def __init__(self, framework: Framework) -> None:
        self.framework = framework
        self._held: list[Any] = []
        self.like: Any = None
        self._like_name = ""
        self.device = (0, 0)

    def floats(self, name: str, operand: Operand, rank: int = 0) -> _abi.Tensor:
        """An input of a float type; a contiguous copy if the array cannot be described."""
        if not isinstance(operand, Blank):
            require_floats(self.framework, name, operand)
        return self._input(name, operand, rank)

    def output(self, name: str, operand: Operand, rank: int = 0) -> _abi.Tensor:
        """An output, never a copy: what the library writes has to reach the caller."""
        if isinstance(operand, Blank):
            return _pad(name, _blank(operand), rank)
        require_floats(self.framework, name, operand, is_written=True)
        view = self.framework.view(operand)
        if view is None:
            raise ValueError(
                f"{self.framework.contiguous(name, operand)}; an array that is written must be "
                "aligned, in native byte order, and contiguous in its last dimension. Pass such an "
                "array and copy from it afterwards."
            )
        return self._describe(name, operand, view, rank)

    def option(self, name: str, value: Any, slot: Slot, wide: int) -> Any:
        """An option that is an array, or a list of numbers that stands for one."""
        if slot.kind == "floats":
            return self.floats(name, value, slot.rank)
        if slot.kind == "pair":
            return self._pair(name, value)
        array = self.framework.asarray(name, value, self.like)
        require(self.framework, name, array)
        array = {"booleans": self._booleans, "integers": self._integers}.get(
            slot.kind, self._factors
        )(name, array, wide)
        return self._input(name, array, slot.rank)

    def table(self, name: str, value: Any) -> _abi.Tensor:
        """Offsets, lengths or positions: int32 and int64 as they are, other integers as int64."""
        table: _abi.Tensor = self.option(name, value, Slot("", "", "integers"), 0)
        return table

    def factor_code(self, value: Any, wide: int) -> int:
        """The type for slopes and sinks: float32 if `value` is of float32, else `wide`."""
        return _abi.Dtype.FLOAT32 if self.framework.code(value) == _abi.Dtype.FLOAT32 else wide

    def _booleans(self, name: str, array: Any, _wide: int) -> Any:
        if self.framework.code(array) == _abi.Dtype.BOOL:
            return array
        dtype = self.framework.dtype_name(array)
        how = f"Convert it with {self.framework.maker}({name}, dtype=bool)."
        if "float" in dtype:  # as bool, 0 would hide what an additive mask leaves visible
            also = "goes in as bias, or " if name == "mask" else "goes in "
            how = (
                f"A mask that is added to the scores {also}as {name} == 0; 1 and 0 as {name} != 0."
            )
        raise TypeError(
            f"{name} has dtype {dtype}; it must be bool, where True means visible. {how}"
        )

    def _integers(self, name: str, array: Any, _wide: int) -> Any:
        if self.framework.code(array) in (_abi.Dtype.INT32, _abi.Dtype.INT64):
            return array
        dtype = self.framework.dtype_name(array)
        if "int" not in dtype:
            raise TypeError(f"{name} has dtype {dtype}; it must hold integers.")
        if "uint64" in dtype:
            largest = max(self.framework.numbers(array) or [0])
            if largest >= 2**63:
                raise ValueError(f"{name} holds {largest}, which does not fit 64 bits with a sign.")
        return self.framework.copied(array, _abi.Dtype.INT64)

    def _factors(self, name: str, array: Any, wide: int) -> Any:
        code, dtype = self.framework.code(array), self.framework.dtype_name(array)
        if code not in _dtypes.FLOAT_CODES and "int" not in dtype:
            raise TypeError(f"{name} has dtype {dtype}; it must hold real numbers.")
        wanted = self.factor_code(array, wide)
        return array if code == wanted else self.framework.copied(array, wanted)

    def _pair(self, name: str, array: Any) -> Any:
        """A pointer to two 64-bit unsigned integers of the array itself, never of a copy."""
        require(self.framework, name, array)
        view = self.framework.view(array)
        is_pair = view is not None and view.shape == (2,) and view.strides == (1,)
        if view is None or not is_pair or not self.framework.is_wide_integer(array):
            raise ValueError(
                f"{name} has dtype {array.dtype}, shape {tuple(array.shape)} and strides "
                f"{self.framework.strides(array)}; it must be 2 elements of "
                f"{self.framework.wide_integer} in a row, aligned, in native byte order."
            )
        if not view.address:
            raise ValueError(f"{name} has no memory; pass one that holds its elements.")
        self._place(name, array)
        self._held.append(array)
        return ctypes.cast(view.address, ctypes.POINTER(ctypes.c_uint64))

    def _input(self, name: str, operand: Operand, rank: int) -> _abi.Tensor:
        if isinstance(operand, Blank):
            return _pad(name, _blank(operand), rank)
        view = self.framework.view(operand)
        if view is None:
            operand = self.framework.copied(operand)
            view = self.framework.view(operand)
            assert view is not None
        return self._describe(name, operand, view, rank)

    def _place(self, name: str, array: Any) -> None:
        device = self.framework.device(array)
        if self.like is None:
            self.like, self._like_name, self.device = array, name, device
        if device != self.device:
            raise ValueError(
                f"{name} lies on {_device_name(device)}, but {self._like_name} on "
                f"{_device_name(self.device)}; the arrays of one call must lie on one device."
            )

    def _describe(self, name: str, array: Any, view: View, rank: int) -> _abi.Tensor:
        code = self.framework.code(array)
        if not code:
            raise TypeError(
                f"{name} has dtype {self.framework.dtype_name(array)}; tilewise takes "
                f"{', '.join(_dtypes.CODES)}."
            )
        if len(view.shape) > (rank or 4):
            raise ValueError(
                f"{name} has {len(view.shape)} dimensions; it may have at most {rank or 4}."
            )
        self._place(name, array)
        self._held.append(array)
        item = _dtypes.item_bytes(code)
        strides = _contiguous(view.shape) if 0 in view.shape else view.strides
        low, high = _hull(view.shape, strides, item)
        if high > low and not view.address:
            raise ValueError(
                f"{name} has no memory: it is empty of data, as a tensor is whose storage was "
                "freed or shrunk. Pass one that holds its elements."
            )
        # Members one by one: by keywords ctypes takes three times as long.
        tensor = _abi.Tensor()
        tensor.data = view.address + low
        tensor.byte_offset = -low
        tensor.byte_size = high - low
        tensor.shape[:] = _four(view.shape)
        tensor.stride[:] = _four(strides)
        tensor.dtype = code
        tensor.rank = len(view.shape)
        return _pad(name, tensor, rank)


def _device_name(device: tuple[int, int]) -> str:
    kind, index = device
    return f"GPU {index}" if kind else "the processor"


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for dimension in range(len(shape) - 2, -1, -1):
        strides[dimension] = strides[dimension + 1] * max(shape[dimension + 1], 1)
    return tuple(strides)


def _hull(shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> tuple[int, int]:
    """The bytes an array spans, counted from its first element: [low, high)."""
    if 0 in shape:
        return 0, 0
    reach = [(length - 1) * step for length, step in zip(shape, strides)]
    low = sum(step for step in reach if step < 0)
    high = sum(step for step in reach if step > 0)
    return low * item, (high + 1) * item


def _blank(blank: Blank) -> _abi.Tensor:
    return _abi.Tensor(
        shape=_four(blank.shape),
        stride=_four(_contiguous(blank.shape)),
        dtype=blank.code,
        rank=len(blank.shape),
    )


def _pad(name: str, tensor: _abi.Tensor, rank: int) -> _abi.Tensor:
    """The tensor with leading dimensions of size 1 up to `rank`, as in broadcasting."""
    missing = rank - tensor.rank
    if missing > 0:
        tensor.shape[:] = [1] * missing + list(tensor.shape)[: tensor.rank] + [0] * (4 - rank)
        tensor.stride[:] = [0] * missing + list(tensor.stride)[: tensor.rank] + [0] * (4 - rank)
        tensor.rank = rank
    if tensor.rank < 1:
        raise ValueError(f"{name} has 0 dimensions; a tensor has 1 to 4.")
    return tensor


def _four(values: tuple[int, ...]) -> tuple[int, ...]:
    """Four numbers, padded with zeros. A longer tuple is cut: its rank is refused elsewhere."""
    return (*values, 0, 0, 0, 0)[:4]
