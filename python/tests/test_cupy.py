"""CuPy's arrays, played by NumPy's: all that is done before the library is asked, and its answer.

On a machine with a GPU and CuPy the same arrays are real.
"""

from __future__ import annotations

import contextlib
import sys
import types
from typing import Any

import numpy as np
import pytest
import tilewise
from tilewise import _borrower
from tilewise._frameworks import framework_of


class Played:
    """What is asked of a cupy.ndarray, answered by a NumPy array."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape, self.dtype, self.strides = array.shape, array.dtype, array.strides
        self.itemsize, self.nbytes, self.flags = array.itemsize, array.nbytes, array.flags
        self.data = types.SimpleNamespace(ptr=array.ctypes.data)
        self.device = Device(1)

    def swapaxes(self, one: int, other: int) -> Played:
        return Played(self.array.swapaxes(one, other))


class Device(contextlib.nullcontext[None]):
    """A device that work can be sent to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.id = number


def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    cupy: Any = types.ModuleType("cupy")
    cupy.ndarray = Played
    cupy.empty = lambda shape, dtype: Played(np.empty(shape, dtype))
    cupy.zeros = lambda shape, dtype: Played(np.zeros(shape, dtype))
    cupy.full = lambda shape, value, dtype: Played(np.full(shape, value, dtype))
    cupy.array = lambda x, dtype, order, copy: Played(
        np.array(x.array, dtype, order=order, copy=copy)
    )
    cupy.asarray = lambda x: Played(np.asarray(x))
    cupy.dtype = np.dtype
    stream = types.SimpleNamespace(ptr=77)
    cupy.cuda = types.SimpleNamespace(Device=Device, get_current_stream=lambda: stream)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def test_arrays_are_described_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch)
    array = np.arange(48, dtype=np.float32).reshape(2, 3, 2, 4)
    framework = framework_of("x", Played(array))
    borrow = _borrower.Borrower(framework)
    tensor = borrow.floats("x", Played(array[:, ::-1]))
    assert borrow.device == (1, 1)
    assert tensor.data + tensor.byte_offset == array[:, ::-1].ctypes.data
    assert list(tensor.stride) == [24, -8, 4, 1]
    assert framework.stream(1) == 77
    turned = borrow.floats("x", Played(array.swapaxes(2, 3)))
    assert list(turned.stride)[2:] == [2, 1], "a copy, contiguous in its last dimension"
    made = framework.make(Played(array), (2, 3), 1, 2)
    assert np.isneginf(made.array).all()


def test_calls_go_to_their_device(monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch)
    given = [Played(np.ones((1, 3, 2, 4), np.float32)) for _ in range(3)]
    if "cuda:1" in getattr(tilewise, "devices", list)():
        pytest.skip("there is a GPU, which could not read this memory")
    with pytest.raises(NotImplementedError, match=r"NVIDIA|GPU|cuda"):
        tilewise.attention(*given)
    mixed: Any = (given[0], np.ones((1, 3, 2, 4), np.float32), given[2])
    with pytest.raises(TypeError, match=r"^key is a ndarray; pass a CuPy array, for ex"):
        tilewise.attention(*mixed)
