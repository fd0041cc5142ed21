"""device="cuda": the same numbers as on the processor, and a sentence where there is no GPU.

On a machine without one the tests of the first kind are skipped. `./dev test` makes them all the
same, on a GPU that the emulator plays (tests/backends/cuda/emulated_cuda.cpp), and `./dev gpu test`
on a real one.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import tilewise as typed
from tilewise import _abi, _device

# Options come from tables here, which their types cannot follow.
tilewise: Any = typed

HAS_GPU = "cuda:0" in tilewise.devices()
needs_gpu = pytest.mark.skipif(
    not HAS_GPU and not os.environ.get("TILEWISE_NEEDS_GPU"), reason="there is no GPU"
)
needs_none = pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
BOTH = ("cpu", "cuda")


def drawn(*shape: int, seed: int = 1, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def alike(one: Any, other: Any) -> None:
    tolerance = 1e-11
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_the_processor_comes_first() -> None:
    assert tilewise.devices()[0] == "cpu"
    assert all(name.startswith("cuda:") for name in tilewise.devices()[1:])


@needs_none
def test_without_a_gpu_the_librarys_sentence_says_why() -> None:
    x = drawn(1, 3, 1, 4)
    table = np.ones((3, 2))
    calls: list[Any] = [
        lambda: tilewise.attention(x, x, x, device="cuda"),
        lambda: tilewise.attention_probabilities(x, x, device="cuda"),
        lambda: tilewise.workspace_bytes(x, x, x, device="cuda:1"),
        lambda: tilewise.explain(x, x, x, device="cuda"),
        lambda: tilewise.rotary(x, table, table, device="cuda"),
        lambda: tilewise.append(x, x, x.copy(), x.copy(), [0], device="cuda"),
        lambda: tilewise.merge([x], [np.zeros((1, 1, 3))], device="cuda"),
    ]
    for call in calls:
        with pytest.raises(NotImplementedError, match="NVIDIA driver"):
            call()


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CUDA", ""])
def test_names_that_are_no_device(name: str) -> None:
    x = drawn(1, 3, 1, 4)
    with pytest.raises(ValueError, match="it must be 'cpu', 'cuda' or 'cuda:N'"):
        tilewise.attention(x, x, x, device=name)
    with pytest.raises(TypeError, match="device is a int; it must be 'cpu'"):
        tilewise.attention(x, x, x, device=0)


def test_packed_sequences_are_bounded_by_their_offsets() -> None:
    offsets = np.array([0, 5, 5, 12], np.int32)
    table = _abi.Tensor(data=offsets.ctypes.data, dtype=_abi.Dtype.INT32, rank=1)
    table.shape[0], table.stride[0] = 4, 1
    sequences = _abi.Sequences(offsets=table)
    request = _abi.RotaryRequest()
    request.sequences.contents = sequences
    _device._bound_lengths(request)
    assert sequences.max_length == 7


def test_arrays_that_share_bytes_stay_together() -> None:
    ranges = ((40, 60), (0, 10), (10, 20), (50, 55), (58, 70))
    places = [_device._Place(begin, end, print, False) for begin, end in ranges]
    groups = [[(each.begin, each.end) for each in group] for group in _device._overlapping(places)]
    assert groups == [[(0, 10)], [(10, 20)], [(40, 60), (50, 55), (58, 70)]]


@needs_gpu
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True, "window": (9, 0), "softcap": 3.0},
        {"bias": drawn(1, 4, 19, 37, seed=5), "sinks": [0.5, 1.0, -1.0, 2.0]},
        {"mask": drawn(19, 37, seed=6) > -1, "alibi_slopes": [0.1, 0.2, 0.3, 0.4]},
        {"dropout": 0.3, "seed": 7},
        {"dropout": 0.3, "seed": None, "dropout_state": np.array([7, 3], np.uint64)},
        {"key_lengths": [37, 20], "key_start": [0, 4]},
    ],
)
def test_attention_and_its_gradients(options: dict[str, Any]) -> None:
    query, key, value = (
        drawn(2, 19, 4, 16),
        drawn(2, 37, 2, 16, seed=2),
        drawn(2, 37, 2, 24, seed=3),
    )
    arriving = drawn(2, 19, 4, 24, seed=4)
    results: list[Any] = []
    for device in BOTH:
        output, lse = tilewise.attention(
            query, key, value, return_lse=True, device=device, **options
        )
        gradients = tilewise.attention_backward(
            arriving, query, key, value, output, lse, device=device, **options
        )
        weights = tilewise.attention_probabilities(query, key, device=device, **options)
        results.append([output, lse, weights, *(g for g in gradients if g is not None)])
    for here, there in zip(*results):
        alike(here, there)


@needs_gpu
def test_packed_sequences_and_a_paged_cache() -> None:
    offsets = [0, 5, 5, 12]
    query, key = drawn(12, 2, 8), drawn(12, 1, 8, seed=2)
    packed = {"query_offsets": offsets, "key_offsets": offsets, "causal": True}
    alike(*(tilewise.attention(query, key, key, device=device, **packed) for device in BOTH))
    pages, one = drawn(6, 4, 1, 8, seed=3), drawn(2, 1, 2, 8)
    paged = {"page_table": [[5, 0, 2], [1, 3, 4]], "key_lengths": [9, 12]}
    alike(*(tilewise.attention(one, pages, pages, device=device, **paged) for device in BOTH))


@needs_gpu
def test_tables_that_are_wrong_are_refused() -> None:
    query = drawn(12, 2, 8)
    with pytest.raises(ValueError, match="query_offsets ends at 13 but"):
        tilewise.attention(query, query, query, query_offsets=[0, 13], key_offsets=[0, 12],
                           device="cuda")  # fmt: skip


@needs_gpu
def test_results_that_lie_between_each_other_come_back_whole() -> None:
    query, key, value = drawn(1, 9, 3, 2, 8).transpose(2, 0, 1, 3, 4)
    arriving = drawn(1, 9, 2, 8, seed=2)
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    results: list[Any] = []
    for device in BOTH:
        whole = np.full((1, 9, 4, 2, 8), 7.0)
        places = tilewise.Gradients(query=whole[:, :, 0], key=whole[:, :, 1], value=whole[:, :, 3])
        tilewise.attention_backward(
            arriving, query, key, value, output, lse, out=places, device=device
        )
        assert (whole[:, :, 2] == 7).all()
        results.append(whole)
    alike(*results)


@needs_gpu
def test_a_view_that_runs_backwards() -> None:
    x = drawn(1, 9, 2, 8)
    alike(*(tilewise.attention(x[:, ::-1], x, x[::-1], causal=True, device=d) for d in BOTH))


@needs_gpu
def test_rotary_append_and_merge() -> None:
    angle = np.arange(16)[:, None] * np.array([1.0, 0.1])
    cosine, sine = np.cos(angle), np.sin(angle)
    x = drawn(2, 3, 1, 8)
    alike(*(tilewise.rotary(x, cosine, sine, positions=[2, 5], device=d) for d in BOTH))
    results: list[Any] = []
    for device in BOTH:
        caches = drawn(2, 8, 1, 8, seed=2), drawn(2, 8, 1, 8, seed=3)
        turned = tilewise.append(
            x, x, *caches, [1, 4], cosine=cosine, sine=sine, query=x, device=device
        )
        assert turned is not None
        results.append([*caches, turned])
    for here, there in zip(*results):
        alike(here, there)
    parts = [tilewise.attention(x, x, x, return_lse=True) for _ in range(2)]
    outputs, lses = [part[0] for part in parts], [part[1] for part in parts]
    merged = [tilewise.merge(outputs, lses, [0.5], device=device) for device in BOTH]
    alike(merged[0][0], merged[1][0])
    alike(merged[0][1], merged[1][1])


@needs_gpu
def test_plans() -> None:
    shape = (2, 128, 8, 64)
    assert tilewise.explain(shape, shape, shape, json=True, device="cuda")["backend"] == "cuda"
    packed = {"query_offsets": [0, 100, 128], "key_offsets": [0, 100, 128]}
    flat = (128, 8, 64)
    assert "cuda" in tilewise.explain(flat, flat, flat, device="cuda:0", **packed)
    needed = tilewise.workspace_bytes(shape, shape, shape, operation="backward", device="cuda")
    assert needed > 0
    x = drawn(1, 3, 1, 4)
    with pytest.raises(ValueError, match="workspace lies on the host"):
        tilewise.attention(x, x, x, workspace=np.empty(64, np.uint8), device="cuda")


@needs_gpu
def test_a_gpu_that_is_not_there() -> None:
    x = drawn(1, 3, 1, 4)
    with pytest.raises(NotImplementedError, match="there is no CUDA device 63"):
        tilewise.attention(x, x, x, device="cuda:63")
