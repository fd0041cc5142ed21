"""Arrays that lie on a GPU, by the extension and by the slower way: the processor's numbers.

The arrays are this test's own: memory that the library gives, described as torch's tensors describe
theirs. So this runs on a real GPU, and where the emulator plays one, without any framework.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from ctypes import byref
from typing import Any

import numpy as np
import pytest
import tilewise as typed
from tilewise import _abi, _attend, _dtypes, _frameworks, _library, _quick
from tilewise._frameworks import Fill, Framework, View

tilewise: Any = typed
HAS_GPU = "cuda:0" in tilewise.devices()
pytestmark = pytest.mark.skipif(
    not HAS_GPU and not os.environ.get("TILEWISE_NEEDS_GPU"), reason="there is no GPU"
)
GPU = _abi.Device(kind=_abi.DeviceKind.CUDA, index=0)
# What is freed at the end of a test.
given_out: list[int] = []


class There:
    """A contiguous array on the device, or a view of one."""

    def __init__(self, address: int, shape: Any, strides: Any, dtype: str) -> None:
        self.address, self.strides, self.dtype = address, tuple(strides), dtype
        self.shape = tuple(shape)

    def data_ptr(self) -> int:
        return self.address

    def stride(self) -> tuple[int, ...]:
        return self.strides

    def get_device(self) -> int:
        return 0


def copy(to: int, source: int, count: int) -> None:
    _library.call("tw_copy", byref(GPU), to, source, count, None)
    _library.call("tw_synchronize", byref(GPU), None)


def there(array: Any) -> There:
    """A copy of a NumPy array on the device."""
    array = np.ascontiguousarray(array)
    address = ctypes.c_void_p()
    _library.call("tw_allocate", byref(GPU), max(array.nbytes, 1), byref(address))
    assert address.value is not None
    given_out.append(address.value)
    if array.nbytes:
        copy(address.value, array.ctypes.data, array.nbytes)
    strides = [step // array.itemsize for step in array.strides]
    return There(address.value, array.shape, strides, array.dtype.name)


def here(array: There) -> Any:
    """The array's numbers, on the host."""
    found = np.empty(array.shape, array.dtype)
    steps = [step * found.itemsize for step in array.strides]
    order = sorted(range(found.ndim), key=lambda i: -array.strides[i])
    dense = np.empty([array.shape[i] for i in order], array.dtype)
    assert [steps[i] for i in order] == list(dense.strides)
    copy(dense.ctypes.data, array.address, dense.nbytes)
    return dense.transpose(np.argsort(order))


class Device(Framework):
    """The framework of this file's arrays."""

    article, maker, family = "an array there", "there", 9
    raw_stream = staticmethod(lambda index: 0)

    def is_array(self, value: object) -> bool:
        return isinstance(value, There)

    def check(self, name: str, value: Any, *, is_written: bool = False) -> None:
        """Accepts all: these arrays are plain memory."""

    def code(self, value: Any) -> int:
        return int(_dtypes.CODES.get(value.dtype, 0))

    def dtype_name(self, value: Any) -> str:
        return str(value.dtype)

    def dtype_code(self, name: str, dtype: Any) -> int:
        return int(_dtypes.CODES[dtype])

    def device(self, value: Any) -> tuple[int, int]:
        return 1, 0

    def view(self, value: Any) -> View | None:
        return View(value.address, value.shape, value.strides)

    def copied(self, value: Any, code: int = 0) -> Any:
        return there(here(value).astype(_dtypes.NAMES[code] if code else value.dtype))

    def asarray(self, name: str, value: Any, like: Any) -> Any:
        return value if isinstance(value, There) else there(np.asarray(value))

    def make(self, like: Any, shape: tuple[int, ...], code: int, fill: int) -> Any:
        value = {Fill.ZERO: 0, Fill.MINUS_INFINITY: -np.inf}.get(fill, 7)
        return there(np.full(shape, value, _dtypes.NAMES[code]))

    def empty_like(self, value: Any) -> Any:
        return there(here(value))

    def swapped(self, value: Any) -> Any:
        shape, strides = list(value.shape), list(value.strides)
        shape[1:3], strides[1:3] = shape[2:0:-1], strides[2:0:-1]
        return There(value.address, shape, strides, value.dtype)

    def is_contiguous(self, value: Any) -> bool:
        return True

    def byte_size(self, value: Any) -> int:
        return int(np.prod(value.shape)) * _dtypes.item_bytes(self.code(value))

    def stream(self, index: int) -> int | None:
        return 0


DEVICE = Device()


@pytest.fixture(autouse=True, params=["extension", "slower"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs each test by the extension and by the slower way, and frees its device memory."""
    if There not in _frameworks._known:
        _frameworks.adopt(DEVICE, There)
        codes = {name: int(code) for name, code in _dtypes.CODES.items()}
        _quick.adopt(DEVICE, (There,), codes, DEVICE.empty_like)
    if request.param == "slower":
        monkeypatch.setattr(_quick, "extension", None)
    elif _quick.extension is None:
        pytest.skip("the package was built without Python's headers")
    else:
        for name in ("_attend_slowly", "differentiate_into"):
            monkeypatch.setattr(_attend, name, None)
    yield
    while given_out:
        _library.call("tw_free", byref(GPU), given_out.pop())


def drawn(*shape: int, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def alike(one: Any, other: Any) -> None:
    np.testing.assert_allclose(here(one), other, rtol=1e-11, atol=1e-11)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"causal": True, "softcap": 3.0},
    {"bias": drawn(4, 1, 37, seed=5), "sinks": drawn(4, seed=6)},
    {"mask": drawn(19, 37, seed=6) > -1, "alibi_slopes": drawn(4, seed=7)},
    {"dropout": 0.3, "seed": 7, "dropout_offset": 3},
    {"key_lengths": np.array([37, 20]), "query_start": np.array([0, 4])},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_attention_and_its_gradients(options: dict[str, Any]) -> None:
    arrays = drawn(2, 19, 4, 16), drawn(2, 37, 2, 16, seed=2), drawn(2, 37, 2, 24, seed=3)
    arriving = drawn(2, 19, 4, 24, seed=4)
    output, lse = tilewise.attention(*arrays, return_lse=True, **options)
    wanted = tilewise.attention_backward(arriving, *arrays, output, lse, **options)
    moved = {n: there(x) if isinstance(x, np.ndarray) else x for n, x in options.items()}
    query, key, value = map(there, arrays)
    found, rows = tilewise.attention(query, key, value, return_lse=True, **moved)
    alike(found, output)
    alike(rows, lse)
    gradients = tilewise.attention_backward(
        there(arriving), query, key, value, found, rows, **moved
    )
    for name, gradient in wanted._asdict().items():
        assert (gradient is None) == (getattr(gradients, name) is None)
        if gradient is not None:
            alike(getattr(gradients, name), gradient)


def test_dropout_by_a_state_there() -> None:
    arrays = [drawn(1, 9, 2, 8, seed=seed) for seed in range(3)]
    state = np.array([2**63 + 7, 3], np.uint64)
    wanted = tilewise.attention(*arrays, dropout=0.4, dropout_state=state)
    moved = there(state.view(np.int64))
    if _quick.extension is None:
        moved.dtype = "uint64"
    alike(tilewise.attention(*map(there, arrays), dropout=0.4, dropout_state=moved), wanted)


def test_caches() -> None:
    key, query, caches = drawn(2, 3, 2, 8), drawn(2, 3, 4, 8, seed=2), np.zeros((2, 2, 9, 2, 8))
    angle = np.arange(9)[:, None] * np.linspace(0.1, 1, 4)
    tables, lengths = (np.cos(angle), np.sin(angle)), np.array([1, 4])
    named: dict[str, Any] = {"cosine": tables[0], "sine": tables[1], "query": query}
    wanted = tilewise.append(key, key, *caches, lengths, **named)
    moved = [there(np.zeros((2, 9, 2, 8))) for _ in range(2)]
    new, positions = there(key), there(lengths)
    named = {name: there(array) for name, array in named.items()}
    found = tilewise.append(new, new, *moved, positions, **named)
    alike(found, wanted)
    for one, other in zip(moved, caches):
        alike(one, other)
    moved_tables = named["cosine"], named["sine"]
    turned = tilewise.rotary(there(query), *moved_tables, positions=positions, interleaved=True)
    alike(turned, tilewise.rotary(query, *tables, positions=lengths, interleaved=True))
    parts = tilewise.attention(found, *moved, key_lengths=there(lengths + 3), return_lse=True)
    output, lse = tilewise.attention(wanted, *caches, key_lengths=lengths + 3, return_lse=True)
    merged = tilewise.merge([parts[0]] * 2, [parts[1]] * 2)
    alike(merged[0], output)
    alike(merged[1], lse + np.log(2))
