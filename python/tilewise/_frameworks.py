"""The one place that knows whose arrays there are: how each describes itself, and who makes more.

NumPy's are known from the start. Importing this imports no other framework: the first array of one
brings in what knows it, and by then its owner has imported the framework.
"""

from __future__ import annotations

import abc
import sys
from typing import Any, Callable, ClassVar, NamedTuple

from tilewise import _dtypes

CPU, CUDA = 0, 1


class Fill:
    """What new arrays hold."""

    NOTHING, ZERO, MINUS_INFINITY = 0, 1, 2


class View(NamedTuple):
    """Where an array lies: the address of its first element, its shape, its strides in elements."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Framework(abc.ABC):
    """What one framework's arrays are, in the words that calls are made of."""

    article: ClassVar[str]  # in sentences: "a NumPy array"
    maker: ClassVar[str]  # in sentences: "numpy.asarray"
    family: ClassVar[int]
    wide_integer: ClassVar[str] = "uint64"  # what a seed and an offset are made of
    # How calls are made where arrays may be more than numbers: attention, rotary, append and merge,
    # with the arguments of the functions of those names, and backward and probabilities with the
    # parts of theirs. None where they are numbers alone; attention gives NotImplemented for these.
    attention: Callable[..., Any] | None = None
    backward: Callable[..., Any] | None = None
    probabilities: Callable[..., Any] | None = None
    rotary: Callable[..., Any] | None = None
    append: Callable[..., Any] | None = None
    merge: Callable[..., Any] | None = None

    @abc.abstractmethod
    def is_array(self, value: object) -> bool:
        """Whether it is one of this framework's."""

    @abc.abstractmethod
    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        """Refuses an array that says more than its memory does, or that cannot be written."""

    @abc.abstractmethod
    def code(self, value: Any) -> int:
        """The library's number of its type; 0 when it has none."""

    @abc.abstractmethod
    def dtype_name(self, value: Any) -> str:
        """Its type, in the framework's word."""

    @abc.abstractmethod
    def dtype_code(self, name: str, dtype: Any) -> int:
        """The number of a float type that a caller names."""

    @abc.abstractmethod
    def device(self, value: Any) -> tuple[int, int]:
        """CPU or CUDA, and its number."""

    @abc.abstractmethod
    def view(self, value: Any) -> View | None:
        """None where the library cannot read it as it lies."""

    @abc.abstractmethod
    def copied(self, value: Any, code: int = 0) -> Any:
        """A contiguous copy, of another type when one is given."""

    @abc.abstractmethod
    def asarray(self, name: str, value: Any, like: Any) -> Any:
        """Numbers, or lists of them, as an array on the device of another."""

    @abc.abstractmethod
    def make(self, like: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:
        """A new array where `like` lies."""

    @abc.abstractmethod
    def empty_like(self, value: Any) -> Any:
        """A new array of the same shape and type, contiguous in its last dimension."""

    # These three in the words of NumPy, which others have taken over.

    def is_contiguous(self, value: Any) -> bool:
        """Whether its elements lie in a row."""
        return bool(value.flags.c_contiguous)

    def byte_size(self, value: Any) -> int:
        """Of all elements."""
        return int(value.nbytes)

    def swapped(self, value: Any) -> Any:
        """A view with the middle two of four dimensions swapped."""
        return value.swapaxes(1, 2)

    def strides(self, value: Any) -> Any:
        """As the framework says them; for sentences."""
        return value.strides

    def is_wide_integer(self, value: Any) -> bool:
        """Whether its elements are integers of 64 bits, as a seed and an offset are."""
        return str(value.dtype) == self.wide_integer

    def threads(self) -> int:
        """How many threads the framework's own work may take; 0 when it does not say."""
        return 0

    def makes(self, value: object) -> bool:  # noqa: ARG002
        """Whether it is what `make` makes, where that is not an array of this framework yet."""
        return False

    def finished(self, value: Any, like: Any) -> Any:  # noqa: ARG002
        """What the caller gets for an array that `make` made and the library filled."""
        return value

    def note_written(self, *values: Any) -> None:  # noqa: B027
        """Says to the framework that the library wrote into a caller's arrays; None are none."""

    def stream(self, index: int) -> int | None:  # noqa: ARG002
        """The address of the stream that work on a device goes to."""
        return None

    def numbers(self, value: Any) -> list[int] | None:  # noqa: ARG002
        """A small table as integers, where the host may read it at once."""
        return None

    def contiguous(self, name: str, value: Any) -> str:
        """How an array lies that cannot be written; for sentences."""
        return f"{name} has strides of {self.strides(value)} elements"


_known: dict[type, Framework] = {}
_makers: list[Callable[[object], Framework | None]] = []


def adopt(framework: Framework, *types: type) -> None:
    """From now on arrays of exactly these types are this framework's."""
    for each in types:
        _known[each] = framework


def offer(maker: Callable[[object], Framework | None]) -> None:
    """Adds somebody to ask about arrays of a type that was not seen before."""
    _makers.append(maker)


def framework_of(name: str, value: object) -> Framework:
    """Whose array it is; a sentence when it is nobody's."""
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
    """A type of a package that somebody has imported; None otherwise."""
    found: Any = sys.modules.get(package)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def require(framework: Framework, name: str, value: Any, *, is_written: bool = False) -> None:
    """Refuses what is no array of this framework, or one whose memory does not say all."""
    if not framework.is_array(value) and not (is_written and framework.makes(value)):
        raise TypeError(
            f"{name} is a {type(value).__name__}; pass {framework.article}, for example "
            f"{framework.maker}({name})."
        )
    framework.check(name, value, is_written=is_written)


def require_floats(framework: Framework, name: str, value: Any, *, is_written: bool = False) -> int:
    """The same, of a float type, whose number it returns."""
    require(framework, name, value, is_written=is_written)
    code = framework.code(value)
    if code not in _dtypes.FLOAT_CODES:
        raise TypeError(
            f"{name} has dtype {framework.dtype_name(value)}; it must have one of "
            f"{', '.join(_dtypes.FLOATS)}."
        )
    return code
