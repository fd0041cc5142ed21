"""NumPy's arrays: read in place if the library can, otherwise copied."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewise import _dtypes, _frameworks, _quick
from tilewise._frameworks import CPU, Fill, Framework, View

Array = npt.NDArray[Any]

# ml_dtypes adds bfloat16 and float8 types to NumPy. These types are known by name, so that
# ml_dtypes need not be imported, and are added here when first seen.
CODES: dict[np.dtype[Any], int] = {
    np.dtype(name): _dtypes.CODES[name]
    for name in ("float32", "float64", "float16", "bool", "int32", "int64")
}
empty_like = functools.partial(np.empty_like, order="C", subok=False)


class Numpy(Framework):
    """numpy.ndarray, with the types of ml_dtypes."""

    article, maker, family = "a NumPy array", "numpy.asarray", 0

    def is_array(self, value: object) -> bool:
        return isinstance(value, np.ndarray)

    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{name} is a masked array, and its mask would be ignored; pass {name}.filled(...) "
                f"or {name}.data. What hides keys is the option mask."
            )
        if is_written and not value.flags.writeable:
            raise ValueError(f"{name} is read-only; pass an array that may be written.")

    def code(self, value: Any) -> int:
        return dtype_code(value.dtype)

    def dtype_name(self, value: Any) -> str:
        return str(value.dtype.name)

    def dtype_code(self, name: str, dtype: Any) -> int:
        try:
            found = np.dtype(dtype)
        except TypeError:
            raise TypeError(
                f"{name} is {dtype!r}, which NumPy does not know; bfloat16, float8_e4m3fn and "
                "float8_e5m2 are known once ml_dtypes is imported."
            ) from None
        if found.name not in _dtypes.FLOATS:
            raise TypeError(
                f"{name} is {found.name}; it must be one of {', '.join(_dtypes.FLOATS)}."
            )
        return dtype_code(found)

    def device(self, value: Any) -> tuple[int, int]:  # noqa: ARG002
        return CPU, 0

    def view(self, value: Any) -> View | None:
        if not _is_describable(value):
            return None
        shape, item = value.shape, value.itemsize
        strides = tuple(step // item for step in value.strides)
        return View(value.ctypes.data, shape, strides)

    def copied(self, value: Any, code: int = 0) -> Any:
        dtype = _dtype_of(code) if code else value.dtype.newbyteorder("=")
        return np.array(value, dtype=dtype, order="C", copy=True)

    def asarray(self, name: str, value: Any, like: Any) -> Any:  # noqa: ARG002
        if not isinstance(value, np.ndarray):
            foreign = type(value).__module__.partition(".")[0]
            if foreign in ("torch", "jax", "jaxlib", "cupy"):
                raise TypeError(
                    f"{name} is a {type(value).__name__} of {foreign}, but query is a NumPy array; "
                    "the arrays of one call must be of one framework."
                )
        return np.asanyarray(value)

    def make(self, like: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:  # noqa: ARG002
        dtype = _dtype_of(code)
        if fill == Fill.NOTHING:
            return np.empty(shape, dtype)
        if fill == Fill.ZERO:
            return np.zeros(shape, dtype)
        return np.full(shape, -np.inf, dtype)

    def empty_like(self, value: Any) -> Any:
        return np.empty(value.shape, value.dtype.newbyteorder("="))

    def numbers(self, value: Any) -> list[int] | None:
        return [int(number) for number in np.asarray(value).ravel()]

    def contiguous(self, name: str, value: Any) -> str:
        return f"{name} has strides of {value.strides} bytes and dtype {value.dtype.str}"


def dtype_code(dtype: np.dtype[Any]) -> int:
    """The library's number for a NumPy dtype; 0 when it has none."""
    code = CODES.get(dtype)
    if code is None:
        code = _dtypes.CODES.get(dtype.name, 0)
        if code and dtype.isnative:
            CODES[dtype] = code
    return code


def _dtype_of(code: int) -> np.dtype[Any]:
    name = _dtypes.NAMES[code]
    try:
        return np.dtype(name)
    except TypeError:
        raise TypeError(f"NumPy does not know {name}; import ml_dtypes first.") from None


def _is_describable(array: Array) -> bool:
    """Whether strides in elements describe the array, and its last dimension is contiguous."""
    if array.size == 0 or array.flags.c_contiguous:
        return bool(array.flags.aligned and array.dtype.isnative)
    is_contiguous = array.ndim == 0 or array.shape[-1] <= 1 or array.strides[-1] == array.itemsize
    fits = all(step % array.itemsize == 0 for step in array.strides)
    return is_contiguous and fits and bool(array.flags.aligned) and bool(array.dtype.isnative)


NUMPY = Numpy()


def _of_numpy(value: object) -> Framework | None:
    return NUMPY if isinstance(value, np.ndarray) else None


_frameworks.adopt(NUMPY, np.ndarray)
_quick.adopt(NUMPY, (np.ndarray,), CODES, empty_like)
_frameworks.offer(_of_numpy)
