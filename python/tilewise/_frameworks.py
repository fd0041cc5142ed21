"""The frameworks whose arrays are taken: how each describes its arrays and makes new ones.

NumPy's arrays are known from the start. Importing this module imports no other framework: a
framework is added when its first array arrives, and by then the caller has imported it.
"""

from __future__ import annotations

import abc
import sys
from typing import Any, Callable, ClassVar, NamedTuple

from tilewise import _dtypes

CPU, CUDA = 0, 1


class Fill:
    """What new arrays are filled with."""

    NOTHING, ZERO, MINUS_INFINITY = 0, 1, 2


class View(NamedTuple):
    """Where an array lies: the address of its first element, its shape, its strides in elements."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Framework(abc.ABC):
    """What calls need to know of a framework's arrays."""

    article: ClassVar[str]  # in sentences: "a NumPy array"
    maker: ClassVar[str]  # in sentences: "numpy.asarray"
    family: ClassVar[int]
    wide_integer: ClassVar[str] = "uint64"  # what a seed and an offset are made of
    # What the public functions call for this framework's arrays, where it needs code of its own,
    # as torch does for gradients; None where it does not. attention, rotary, append and merge take
    # the arguments of the public functions; backward and probabilities take these arguments grouped
    # in tuples. attention may return NotImplemented for a call that needs no such code.
    attention: Callable[..., Any] | None = None
    backward: Callable[..., Any] | None = None
    probabilities: Callable[..., Any] | None = None
    rotary: Callable[..., Any] | None = None
    append: Callable[..., Any] | None = None
    merge: Callable[..., Any] | None = None

    @abc.abstractmethod
    def is_array(self, value: object) -> bool:
        """Whether `value` is an array of this framework."""

    @abc.abstractmethod
    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        """Refuses an array that the library cannot read as plain memory, such as a masked array;
        with is_written also one that cannot be written."""

    @abc.abstractmethod
    def code(self, value: Any) -> int:
        """The library's number of the array's type; 0 if it has none."""

    @abc.abstractmethod
    def dtype_name(self, value: Any) -> str:
        """The framework's name of the array's type."""

    @abc.abstractmethod
    def dtype_code(self, name: str, dtype: Any) -> int:
        """The library's number of a float type that a caller names."""

    @abc.abstractmethod
    def device(self, value: Any) -> tuple[int, int]:
        """The kind of device, CPU or CUDA, and its index."""

    @abc.abstractmethod
    def view(self, value: Any) -> View | None:
        """Where the array lies; None if the library cannot read it there."""

    @abc.abstractmethod
    def copied(self, value: Any, code: int = 0) -> Any:
        """A contiguous copy, converted if `code` names another type."""

    @abc.abstractmethod
    def asarray(self, name: str, value: Any, like: Any) -> Any:
        """A number, or a list of numbers, as an array on the device of `like`."""

    @abc.abstractmethod
    def make(self, like: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:
        """A new array on the device of `like`."""

    @abc.abstractmethod
    def empty_like(self, value: Any) -> Any:
        """A new array of the same shape and type, contiguous in its last dimension."""

    # NumPy's attributes, which other frameworks have, too.

    def is_contiguous(self, value: Any) -> bool:
        """Whether the array is contiguous."""
        return bool(value.flags.c_contiguous)

    def byte_size(self, value: Any) -> int:
        """Bytes of all elements."""
        return int(value.nbytes)

    def swapped(self, value: Any) -> Any:
        """A view with the middle two of four dimensions swapped."""
        return value.swapaxes(1, 2)

    def strides(self, value: Any) -> Any:
        """The array's strides as the framework counts them, for messages."""
        return value.strides

    def is_wide_integer(self, value: Any) -> bool:
        """Whether the elements are 64-bit integers, as a seed and an offset must be."""
        return str(value.dtype) == self.wide_integer

    def threads(self) -> int:
        """The number of threads set in the framework; 0 if it sets none."""
        return 0

    def makes(self, value: object) -> bool:  # noqa: ARG002
        """Whether `value` is a result of make() that is no array of this framework yet."""
        return False

    def finished(self, value: Any, like: Any) -> Any:  # noqa: ARG002
        """What the caller gets for an array that make() returned and the library filled."""
        return value

    def note_written(self, *values: Any) -> None:  # noqa: B027
        """Tells the framework that the library wrote into these arrays; skips None."""

    def stream(self, index: int) -> int | None:  # noqa: ARG002
        """The address of the framework's current stream on a device; None if it has none."""
        return None

    def numbers(self, value: Any) -> list[int] | None:  # noqa: ARG002
        """A small table as integers, if the host can read it without waiting; else None."""
        return None

    def contiguous(self, name: str, value: Any) -> str:
        """How an array that cannot be written lies, for messages."""
        return f"{name} has strides of {self.strides(value)} elements"


_known: dict[type, Framework] = {}
_makers: list[Callable[[object], Framework | None]] = []


def adopt(framework: Framework, *types: type) -> None:
    """Registers a framework for arrays of exactly these types."""
    for each in types:
        _known[each] = framework


def offer(maker: Callable[[object], Framework | None]) -> None:
    """Adds a function that is asked for the framework of a type not seen before."""
    _makers.append(maker)


def framework_of(name: str, value: object) -> Framework:
    """The framework of an array; TypeError if none knows it."""
    framework = _known.get(type(value))
    return framework if framework is not None else _first_seen(name, value)


def _first_seen(name: str, value: object) -> Framework:
    for maker in _makers:
        framework = maker(value)
        if framework is not None:
            return framework
    raise TypeError(
        f"{name} is a {type(value).__name__}; pass a NumPy array, for example "
        f"numpy.asarray({name}), or an array of torch, JAX or CuPy."
    )


def imported(package: str, attribute: str) -> Any:
    """A type of a package if that is already imported; otherwise None."""
    found: Any = sys.modules.get(package)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def require(framework: Framework, name: str, value: Any, *, is_written: bool = False) -> None:
    """Refuses what is no array of this framework, and what its check() refuses."""
    if not framework.is_array(value) and not (is_written and framework.makes(value)):
        raise TypeError(
            f"{name} is a {type(value).__name__}; pass {framework.article}, for example "
            f"{framework.maker}({name})."
        )
    framework.check(name, value, is_written=is_written)


def require_floats(framework: Framework, name: str, value: Any, *, is_written: bool = False) -> int:
    """Like require, for an array of a float type; returns the type's number."""
    require(framework, name, value, is_written=is_written)
    code = framework.code(value)
    if code not in _dtypes.FLOAT_CODES:
        raise TypeError(
            f"{name} has dtype {framework.dtype_name(value)}; it must have one of "
            f"{', '.join(_dtypes.FLOATS)}."
        )
    return code
