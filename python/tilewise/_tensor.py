"""NumPy arrays as the library's tensors: views where these can be described, else copies."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from tilewise import _abi

Array = npt.NDArray[Any]

# ml_dtypes gives NumPy bfloat16 and float8 types. Known by name, they need no import of it.
_DTYPES = {
    "float32": _abi.Dtype.FLOAT32,
    "float64": _abi.Dtype.FLOAT64,
    "float16": _abi.Dtype.FLOAT16,
    "bfloat16": _abi.Dtype.BFLOAT16,
    "float8_e4m3fn": _abi.Dtype.FLOAT8_E4M3,
    "float8_e5m2": _abi.Dtype.FLOAT8_E5M2,
    "bool": _abi.Dtype.BOOL,
    "int32": _abi.Dtype.INT32,
    "int64": _abi.Dtype.INT64,
}
_FLOATS = tuple(name for name in _DTYPES if "float" in name)
_names: dict[np.dtype[Any], str] = {}


class Blank(NamedTuple):
    """A contiguous tensor of which only shape and type are known: enough to plan with."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


Operand = Union[Array, Blank]


class Borrower:
    """Describes arrays to the library and holds them until the call that reads them is over."""

    def __init__(self) -> None:
        self._held: list[Array] = []

    def input(self, name: str, operand: Operand) -> _abi.Tensor:
        """Where the view cannot be described, of a contiguous copy."""
        if isinstance(operand, Blank):
            return _describe_blank(operand)
        dtype_code(name, operand.dtype)
        if not _is_describable(operand):
            native = operand.dtype.newbyteorder("=")
            operand = np.array(operand, dtype=native, order="C", copy=True)
        return self._describe(name, operand)

    def output(self, name: str, operand: Operand) -> _abi.Tensor:
        """Never of a copy: what the library writes has to arrive at the caller."""
        if isinstance(operand, Blank):
            return _describe_blank(operand)
        dtype_code(name, operand.dtype)
        if not operand.flags.writeable:
            raise ValueError(f"{name} is read-only; pass an array that may be written.")
        if not _is_describable(operand):
            raise ValueError(
                f"{name} has strides of {operand.strides} bytes and dtype {operand.dtype.str}; an "
                "array that is written must be aligned, in native byte order, and contiguous in "
                "its last dimension. Pass such an array and copy from it afterwards."
            )
        return self._describe(name, operand)

    def numbers(self, name: str, array: object, length: int) -> Any:
        """A pointer to `length` unsigned integers of 64 bits, never of a copy."""
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} is a {type(array).__name__}; pass a NumPy array of uint64.")
        array = unmasked(name, array)
        if array.dtype != np.uint64 or array.shape != (length,) or not _is_describable(array):
            raise ValueError(
                f"{name} has dtype {array.dtype}, shape {array.shape} and strides {array.strides}; "
                f"it must be {length} elements of uint64 in a row, aligned, in native byte order."
            )
        self._held.append(array)
        return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64))

    def _describe(self, name: str, array: Array) -> _abi.Tensor:
        self._held.append(array)
        address = array.ctypes.data
        low, high = _hull(array)
        # Members one by one: by keywords ctypes takes three times as long.
        tensor = _abi.Tensor()
        tensor.data = address + low
        tensor.byte_offset = -low
        tensor.byte_size = high - low
        tensor.shape[:] = _four(array.shape)
        tensor.stride[:] = _four(_strides(array))
        tensor.dtype = dtype_code(name, array.dtype)
        tensor.rank = _rank(name, array.shape)
        return tensor


def dtype_name(dtype: np.dtype[Any]) -> str:
    """dtype.name, which NumPy spells anew each time; the few that matter are remembered."""
    name = _names.get(dtype)
    if name is None:
        name = dtype.name
        if name in _DTYPES:
            _names[dtype] = name
    return name


def dtype_code(name: str, dtype: np.dtype[Any]) -> int:
    """The library's number for a NumPy dtype."""
    code = _DTYPES.get(dtype_name(dtype))
    if code is None:
        raise TypeError(
            f"{name} has dtype {dtype.name}; tilewise takes {', '.join(_DTYPES)}. "
            f"Convert it first, for example with {name}.astype('float32')."
        )
    return code


def require_array(name: str, value: object) -> Array:
    """`value`, when it is a NumPy array of a float type."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} is a {type(value).__name__}; pass a NumPy array, for example "
            f"numpy.asarray({name})."
        )
    if dtype_name(value.dtype) not in _FLOATS:
        raise TypeError(
            f"{name} has dtype {value.dtype.name}; it must have one of {', '.join(_FLOATS)}."
        )
    return unmasked(name, value)


def unmasked(name: str, value: npt.ArrayLike) -> Array:
    """`value` as an array, unless its mask would be lost on the way."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and its mask would be ignored; pass {name}.filled(...) or "
            f"{name}.data. What hides keys is the option mask."
        )
    return np.asarray(value)


def float_dtype(name: str, value: npt.DTypeLike) -> np.dtype[Any]:
    """`value` as a NumPy dtype, when it is one of the float types."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise TypeError(
            f"{name} is {value!r}, which NumPy does not know; bfloat16, float8_e4m3fn and "
            "float8_e5m2 are known once ml_dtypes is imported."
        ) from None
    if dtype.name not in _FLOATS:
        raise TypeError(f"{name} is {dtype.name}; it must be one of {', '.join(_FLOATS)}.")
    return dtype


def require_operand(name: str, value: object) -> Operand:
    """`value`, when it is a float array or a blank of a float type."""
    if isinstance(value, Blank):
        dtype_code(name, value.dtype)
        return value
    return require_array(name, value)


def booleans(name: str, value: npt.ArrayLike) -> Array:
    array = unmasked(name, value)
    if array.dtype != np.bool_:
        raise TypeError(
            f"{name} has dtype {array.dtype.name}; it must be bool, where True means visible. "
            f"Convert it with numpy.asarray({name}, dtype=bool)."
        )
    return array


def integers(name: str, value: npt.ArrayLike) -> Array:
    """int32 and int64 as they are, other integers as int64."""
    array = unmasked(name, value)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype.name}; it must hold integers.")
    if dtype_name(array.dtype) in ("int32", "int64"):
        return array
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}, which does not fit 64 bits with a sign.")
    return array.astype(np.int64)


def reals(name: str, value: npt.ArrayLike, wide: np.dtype[Any]) -> Array:
    """Slopes, sinks or factors, as the library takes them: float32 as it is, the rest as `wide`."""
    array = unmasked(name, value)
    if dtype_name(array.dtype) not in _FLOATS and array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype.name}; it must hold real numbers.")
    is_single = dtype_name(array.dtype) == "float32"
    return array.astype(np.float32 if is_single else wide, copy=False)


def with_leading_ones(name: str, array: Array, rank: int) -> Array:
    """A view of `array` with `rank` dimensions, the missing ones in front, as in broadcasting."""
    if array.ndim > rank:
        raise ValueError(f"{name} has {array.ndim} dimensions; it may have at most {rank}.")
    return array[(np.newaxis,) * (rank - array.ndim)]


def default_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of results for inputs of `dtype`: the same, but bfloat16 for the types of 8 bits."""
    return np.dtype("bfloat16") if dtype.itemsize == 1 else dtype.newbyteorder("=")


def wide_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of lse and probabilities, and the widest of slopes, where query is `dtype`."""
    return np.dtype(np.float64 if dtype_name(dtype) == "float64" else np.float32)


def _is_describable(array: Array) -> bool:
    """Whether strides in elements reach all of it, and the last dimension is contiguous."""
    if array.size == 0:
        return bool(array.dtype.isnative)
    if array.flags.c_contiguous:
        return bool(array.flags.aligned and array.dtype.isnative)
    is_contiguous = array.ndim == 0 or array.shape[-1] <= 1 or array.strides[-1] == array.itemsize
    fits = all(step % array.itemsize == 0 for step in array.strides)
    return is_contiguous and fits and bool(array.flags.aligned) and bool(array.dtype.isnative)


def _strides(array: Array) -> tuple[int, ...]:
    """In elements. NumPy gives empty arrays any strides; here they look contiguous."""
    if array.size == 0:
        return _contiguous(array.shape)
    return tuple(step // array.itemsize for step in array.strides)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1] * len(shape)
    for dimension in range(len(shape) - 2, -1, -1):
        strides[dimension] = strides[dimension + 1] * max(shape[dimension + 1], 1)
    return tuple(strides)


def _hull(array: Array) -> tuple[int, int]:
    """The bytes an array spans, counted from its first element: [low, high)."""
    if array.flags.c_contiguous:
        return 0, array.nbytes
    reach = [(length - 1) * step for length, step in zip(array.shape, array.strides)]
    low = sum(step for step in reach if step < 0)
    high = sum(step for step in reach if step > 0)
    return low, high + array.itemsize


def _describe_blank(blank: Blank) -> _abi.Tensor:
    return _abi.Tensor(
        shape=_four(blank.shape),
        stride=_four(_contiguous(blank.shape)),
        dtype=dtype_code("the tensor", blank.dtype),
        rank=_rank("the tensor", blank.shape),
    )


def _rank(name: str, shape: tuple[int, ...]) -> int:
    if not 1 <= len(shape) <= 4:
        raise ValueError(f"{name} has {len(shape)} dimensions; a tensor has 1 to 4.")
    return len(shape)


def _four(values: tuple[int, ...]) -> tuple[int, ...]:
    """Padded with zeros to the four places of a tensor; what is longer is refused by its rank."""
    return (*values, 0, 0, 0, 0)[:4]
