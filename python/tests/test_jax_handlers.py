"""What XLA calls, called by a runtime that ctypes plays: on the processor, and on a GPU.

JAX is not needed. Without a GPU the calls on one are made by `./dev test` on the GPU that the
emulator plays, as those of test_device.py are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any

import numpy as np
import pytest
import tilewise
from test_device import needs_gpu
from tilewise import _abi, _handlers, _library

pytestmark = pytest.mark.skipif(
    not _handlers.path().exists(), reason="this package was built without handlers for XLA"
)
_F32, _F64, _EXECUTE, _PREPARE, _METADATA = 11, 12, 3, 1, 1  # as in c_api.h


class Text(Structure):
    _fields_ = [("data", c_char_p), ("bytes", c_size_t)]


class Buffer(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("extension", c_void_p),
        ("dtype", c_int),
        ("data", c_void_p),
        ("rank", c_int64),
        ("shape", c_void_p),
    ]


class Scalar(Structure):
    _fields_ = [("dtype", c_int), ("value", c_void_p)]


class Buffers(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("extension", c_void_p),
        ("count", c_int64),
        ("kinds", c_void_p),
        ("items", c_void_p),
    ]


class Attributes(Structure):
    _fields_ = [*Buffers._fields_[:4], ("names", c_void_p), ("values", c_void_p)]


class Asked(Structure):
    """Arguments of the runtime's functions, which begin alike."""

    _fields_ = [
        ("size", c_size_t),
        ("extension", c_void_p),
        ("first", c_void_p),
        ("second", c_size_t),
        ("third", c_size_t),
        ("fourth", c_void_p),
    ]


Function = ctypes.CFUNCTYPE(c_void_p, POINTER(Asked))


class Api(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("extension", c_void_p),
        ("version", c_size_t * 3),
        ("internal", c_void_p),
        ("functions", Function * 18),
    ]


class Frame(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("extension", c_void_p),
        ("api", POINTER(Api)),
        ("context", c_void_p),
        ("stage", c_int),
        ("operands", Buffers),
        ("results", Buffers),
        ("attributes", Attributes),
    ]


class Metadata(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("version_size", c_size_t),
        ("version_extension", c_void_p),
        ("major", c_int),
        ("minor", c_int),
        ("traits", ctypes.c_uint32),
    ]


class MetadataExtension(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("type", c_int),
        ("next", c_void_p),
        ("metadata", POINTER(Metadata)),
    ]


class Runtime:
    """The functions that a handler asks for, and what it asked."""

    def __init__(self) -> None:
        self.errors: dict[int, str] = {}
        self.codes: list[int] = []
        self.allocated: dict[int, int] = {}
        self.alignments: list[int] = []
        self.is_full = False
        named = {
            0: self.create_error,
            1: self.ask_error,
            2: self.destroy_error,
            4: self.stream,
            9: self.allocate,
            10: self.free,
            17: self.device,
        }
        self._functions = {i: Function(named.get(i, self.none)) for i in range(18)}
        version = (c_size_t * 3)(24, 0, 3 << 32)  # 0.3
        self.api = Api(ctypes.sizeof(Api), None, version, None)
        for i, function in self._functions.items():
            self.api.functions[i] = function

    def none(self, _: Any) -> None:
        raise AssertionError("nobody needs this")

    def _error(self, sentence: str) -> int:
        self.errors[len(self.errors) + 1] = sentence
        return len(self.errors)

    def create_error(self, asked: Any) -> int:
        self.codes.append(asked[0].second & 0xFFFFFFFF)
        return self._error(ctypes.string_at(asked[0].first).decode())

    def ask_error(self, asked: Any) -> None:
        self._said = self.errors[asked[0].first].encode()
        asked[0].second = ctypes.cast(c_char_p(self._said), c_void_p).value

    def destroy_error(self, asked: Any) -> None:
        self.errors[asked[0].first] = "destroyed"

    def stream(self, asked: Any) -> None:
        asked[0].second = 0

    def device(self, asked: Any) -> None:
        asked[0].second = 0

    def allocate(self, asked: Any) -> int | None:
        self.alignments.append(asked[0].third)
        if asked[0].third > 16:
            return self._error(f"Unsupported alignment: {asked[0].third}")
        if self.is_full:
            return self._error("Out of memory")
        address = on_gpu(asked[0].second)
        self.allocated[address] = asked[0].second
        asked[0].fourth = address
        return None

    def free(self, asked: Any) -> None:
        assert self.allocated.pop(asked[0].third) == asked[0].second
        _library.call("tw_free", GPU, asked[0].third)


GPU = ctypes.byref(_abi.Device(_abi.DeviceKind.CUDA, 0))


def on_gpu(size: int, array: Any = None) -> int:
    """Memory of the GPU's, with what is in the array."""
    address = c_void_p()
    _library.call("tw_allocate", GPU, size, ctypes.byref(address))
    if array is not None:
        _library.call("tw_copy", GPU, address, array.ctypes.data, array.nbytes, None)
    assert address.value is not None
    return address.value


class Call:
    """A frame of XLA's, and everything that it points to."""

    def __init__(self, runtime: Runtime, operands: dict[str, Any], results: dict[str, Any]) -> None:
        self.arrays = {**operands, **results}
        self.places: dict[str, int] = {}
        self._kept: list[Any] = []
        self._runtime = runtime
        self._operands, self._results = operands, results

    def frame(self, **options: float) -> Frame:
        frame = Frame(ctypes.sizeof(Frame), None, ctypes.pointer(self._runtime.api))
        frame.stage = _EXECUTE
        frame.operands = self._buffers(self._operands)
        frame.results = self._buffers(self._results)
        texts = {"operands": " ".join(self._operands), "results": " ".join(self._results)}
        kinds, names, values = [], [], []
        for name, text in texts.items():
            kinds.append(4)
            names.append(self._address(self._text(name)))
            values.append(self._address(self._text(text)))
        for name, number in options.items():
            kinds.append(3)
            names.append(self._address(self._text(name)))
            value = self._address(ctypes.c_double(number))
            values.append(self._address(Scalar(_F64, value)))
        lists = ((c_int * len(kinds))(*kinds), *((c_void_p * len(x))(*x) for x in (names, values)))
        frame.attributes = Attributes(
            ctypes.sizeof(Attributes), None, len(kinds), *map(self._address, lists)
        )
        return frame

    def _buffers(self, arrays: dict[str, Any]) -> Buffers:
        items = []
        for name, array in arrays.items():
            shape = self._address((c_int64 * array.ndim)(*array.shape))
            place = self.places.get(name, array.ctypes.data)
            buffer = Buffer(ctypes.sizeof(Buffer), None, _F32, place, array.ndim, shape)
            items.append(self._address(buffer))
        kinds = self._address((c_int * len(items))(*[1] * len(items)))
        places = self._address((c_void_p * len(items))(*items))
        return Buffers(ctypes.sizeof(Buffers), None, len(items), kinds, places)

    def _text(self, text: str) -> Text:
        return Text(text.encode(), len(text))

    def _address(self, thing: Any) -> int:
        self._kept.append(thing)
        return ctypes.addressof(thing)


@pytest.fixture(name="runtime")
def _runtime() -> Iterator[Runtime]:
    runtime = Runtime()
    yield runtime
    assert runtime.allocated == {}


def handler(name: str) -> Any:
    function = getattr(_handlers.load(), f"tilewise_xla_{name}")
    function.restype, function.argtypes = c_void_p, [POINTER(Frame)]
    return function


def given() -> tuple[dict[str, Any], dict[str, Any]]:
    random = np.random.default_rng(0)
    shapes = {"query": (2, 5, 4, 8), "key": (2, 300, 2, 8), "value": (2, 300, 2, 8)}
    operands = {name: random.standard_normal(x).astype("float32") for name, x in shapes.items()}
    empty = {"output": np.zeros((2, 5, 4, 8), "float32"), "lse": np.zeros((2, 4, 5), "float32")}
    return operands, empty


def test_on_the_processor(runtime: Runtime) -> None:
    operands, results = given()
    call = Call(runtime, operands, results)
    assert handler("forward_cpu")(call.frame(scale=0.2)) is None
    wanted = tilewise.attention(*operands.values(), scale=0.2, return_lse=True)
    for found, each in zip(results.values(), wanted):
        np.testing.assert_array_equal(found, each)
    assert runtime.alignments == []


@pytest.mark.parametrize("shape", [(2, 40, 4, 8), (256, 16, 12, 128)])
def test_workspaces_of_the_processor(runtime: Runtime, shape: tuple[int, ...]) -> None:
    # The small one is kept, the large one is not.
    random = np.random.default_rng(1)
    query, key, value = random.random((3, *shape), "float32")
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    given = {"query": query, "key": key, "value": value, "output": output, "lse": lse}
    results = {f"{name}_gradient": np.zeros(shape, "float32") for name in ("query", "value")}
    call = Call(runtime, {**given, "output_gradient": output}, results)
    wanted = tilewise.attention_backward(output, *given.values(), deterministic=True)
    for _ in range(2):
        assert handler("backward_cpu")(call.frame()) is None
    np.testing.assert_allclose(results["query_gradient"], wanted.query, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(results["value_gradient"], wanted.value, rtol=1e-4, atol=1e-5)
    least = tilewise.workspace_bytes(query, key, value, operation="backward")
    assert (least > 2**24) == (shape[0] == 256)


def test_other_stages_do_nothing(runtime: Runtime) -> None:
    call = Call(runtime, *given())
    frame = call.frame()
    frame.stage = _PREPARE
    assert handler("forward_cpu")(frame) is None
    assert not call.arrays["output"].any()


@pytest.mark.parametrize(("says_its_own", "minor"), [(True, 3), (False, 1)])
def test_it_speaks_the_version_of_who_asks(
    runtime: Runtime, says_its_own: bool, minor: int
) -> None:
    metadata = Metadata(size=ctypes.sizeof(Metadata), traits=77)
    extension = MetadataExtension(40, _METADATA, None, ctypes.pointer(metadata))
    frame = Frame(ctypes.sizeof(Frame), ctypes.addressof(extension), stage=_EXECUTE)
    if says_its_own:
        frame.api = ctypes.pointer(runtime.api)
    assert handler("backward_cuda")(frame) is None
    assert (metadata.major, metadata.minor, metadata.traits) == (0, minor, 0)


def test_a_refusal_is_the_librarys_sentence(runtime: Runtime) -> None:
    call = Call(runtime, *given())
    error = handler("forward_cpu")(call.frame(softcap=-2.0))
    assert runtime.errors[error].startswith("scores.softcap is -2")
    assert runtime.codes == [3]


def test_an_older_runtime_does_not_know_its_gpu(runtime: Runtime) -> None:
    runtime.api.size -= ctypes.sizeof(c_void_p)
    call = Call(runtime, *given())
    error = handler("forward_cuda")(call.frame())
    assert runtime.errors[error].endswith("update jax to 0.6 or newer.")
    assert runtime.codes == [12]


@needs_gpu
def test_on_a_gpu(runtime: Runtime) -> None:
    operands, results = given()
    call = Call(runtime, operands, results)
    call.places = {name: on_gpu(x.nbytes, x) for name, x in call.arrays.items()}
    assert handler("forward_cuda")(call.frame(scale=0.2)) is None, runtime.errors
    wanted = tilewise.attention(*operands.values(), scale=0.2, return_lse=True)
    for (name, found), each in zip(results.items(), wanted):
        _library.call("tw_copy", GPU, found.ctypes.data, call.places[name], found.nbytes, None)
        _library.call("tw_synchronize", GPU, None)
        np.testing.assert_allclose(found, each, rtol=1e-5, atol=1e-6)
    for address in call.places.values():
        _library.call("tw_free", GPU, address)


@needs_gpu
def test_scratch_memory_of_a_gpu(runtime: Runtime) -> None:
    operands, results = given()
    output, lse = tilewise.attention(*operands.values(), return_lse=True)
    operands.update(output=output, lse=lse, output_gradient=output)
    results = {f"{name}_gradient": np.zeros_like(operands[name]) for name in ("query", "key")}
    call = Call(runtime, operands, results)
    call.places = {name: on_gpu(x.nbytes, x) for name, x in call.arrays.items()}
    assert handler("backward_cuda")(call.frame()) is None, runtime.errors
    wanted = tilewise.attention_backward(output, *list(operands.values())[:5])
    for (name, found), each in zip(results.items(), wanted):
        _library.call("tw_copy", GPU, found.ctypes.data, call.places[name], found.nbytes, None)
        _library.call("tw_synchronize", GPU, None)
        np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-5)
    assert runtime.alignments == [16]
    runtime.is_full = True
    error = handler("backward_cuda")(call.frame())
    assert runtime.errors[error].endswith("on the GPU. XLA says: Out of memory")
    assert runtime.codes == [8]
    assert "destroyed" in runtime.errors.values()
    for address in call.places.values():
        _library.call("tw_free", GPU, address)
