"""How arrays lie in memory: views, strides, out=, workspaces, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tilewise
from reference import Array, arrays, assert_close


def attend(query: Array, key: Array, value: Array) -> Array:
    return tilewise.attention(query, key, value, causal=True)


def test_views_are_read_where_they_lie() -> None:
    wide = np.random.default_rng(0).standard_normal((2, 4, 60, 40)).astype(np.float32)
    query = wide[:, :, 3:22, 8:24].transpose(0, 2, 1, 3)
    key = wide[::-1, ::2, 59:22:-1, 1:17].transpose(0, 2, 1, 3)
    value = wide[:, :2, 20:57, 16:].transpose(0, 2, 1, 3)
    assert key.strides[0] < 0
    assert key.strides[1] < 0
    wanted = attend(query.copy(), key.copy(), value.copy())
    assert_close(attend(query, key, value), wanted, 1e-6)


def test_zero_strides() -> None:
    query, key, value = arrays(dtype=np.float32)
    one_key, one_value = (np.broadcast_to(array[:1, :, :1], array.shape) for array in (key, value))
    assert one_key.strides[0] == one_key.strides[2] == 0
    wanted = attend(query, one_key.copy(), one_value.copy())
    assert_close(attend(query, one_key, one_value), wanted, 1e-6)


def test_a_last_dimension_that_is_not_contiguous_is_copied() -> None:
    query, key, value = arrays(dim=32, dtype=np.float32)
    halves = query[..., ::2], key[..., ::-2]
    wanted = attend(halves[0].copy(), halves[1].copy(), value)
    np.testing.assert_array_equal(attend(*halves, value), wanted)


@pytest.mark.parametrize("how", ["swapped", "unaligned"])
def test_inputs_that_no_processor_reads_are_copied(how: str) -> None:
    query, key, value = arrays(dtype=np.float32)
    if how == "swapped":
        odd = key.astype(key.dtype.newbyteorder())
    else:
        odd = np.frombuffer(b"\0" + key.tobytes(), np.float32, offset=1).reshape(key.shape)
        assert not odd.flags.aligned
    np.testing.assert_array_equal(attend(query, odd, value), attend(query, key, value))


def test_masks_and_biases_of_any_strides() -> None:
    query, key, value = arrays(dtype=np.float32)
    random = np.random.default_rng(4)
    mask = random.random((37, 19)).T < 0.7
    bias = random.standard_normal((37, 19)).astype(np.float32).T
    found = tilewise.attention(query, key, value, mask=mask, bias=bias)
    wanted = tilewise.attention(query, key, value, mask=mask.copy("C"), bias=bias.copy("C"))
    np.testing.assert_array_equal(found, wanted)


def test_out() -> None:
    query, key, value = arrays(dtype=np.float32)
    room = np.full((2, 30, 4, 50), 9, np.float32)
    out = room[:, 5:24, :, 10:34]
    assert tilewise.attention(query, key, value, out=out) is out
    np.testing.assert_array_equal(out, tilewise.attention(query, key, value))
    out[:] = 9
    assert (room == 9).all()


@pytest.mark.parametrize("place", ["read-only", "strided", "overlapping", "small"])
def test_out_that_cannot_be_written(place: str) -> None:
    query, key, value = arrays(dtype=np.float32, value_dim=16)
    out = np.zeros((2, 19, 4, 32), np.float32)
    sentences = {
        "read-only": "out is read-only",
        "strided": "contiguous in its last dimension",
        "overlapping": "output",
        "small": "output",
    }
    choices = {"strided": out[..., ::2], "overlapping": query, "small": out[:, :18, :, :16]}
    if place == "read-only":
        out.flags.writeable = False
    before = query.copy()
    with pytest.raises(ValueError, match=sentences[place]):
        tilewise.attention(query, key, value, out=choices.get(place, out[..., :16]))
    np.testing.assert_array_equal(query, before)
    assert not out.any()


def test_out_has_a_type_already() -> None:
    query, key, value = arrays(dtype=np.float32)
    with pytest.raises(ValueError, match="out and output_dtype are both given"):
        tilewise.attention(query, key, value, out=np.empty((2, 19, 4, 24)), output_dtype=np.float32)


def test_empty_arrays() -> None:
    query, key, value = arrays(dtype=np.float32)
    assert tilewise.attention(query[:0], key[:0], value[:0]).shape == (0, 19, 4, 24)
    assert tilewise.attention(query[:, :0], key, value).shape == (2, 0, 4, 24)
    output, lse = tilewise.attention(query, key[:, :0], value[:, :0], return_lse=True)
    assert not output.any()
    assert (lse == -np.inf).all()


def test_threads_agree() -> None:
    query, key, value = arrays(queries=200, keys=200, dtype=np.float32)
    one = tilewise.attention(query, key, value, threads=1)
    for threads in (0, 2, 7):
        np.testing.assert_array_equal(tilewise.attention(query, key, value, threads=threads), one)


def test_calls_from_many_threads() -> None:
    inputs = [arrays(seed, queries=64, keys=64, dtype=np.float32) for seed in range(8)]
    alone = [attend(*each) for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: attend(*each), inputs))
    for found, wanted in zip(together, alone):
        np.testing.assert_array_equal(found, wanted)


def test_workspace() -> None:
    query, key, value = arrays(dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    size = tilewise.workspace_bytes(query, key, value, operation="backward")
    wanted = tilewise.attention_backward(output, query, key, value, output, lse)
    workspace = np.full(size, 255, np.uint8)
    found = tilewise.attention_backward(output, query, key, value, output, lse, workspace=workspace)
    assert_close(np.asarray(found.key), np.asarray(wanted.key), 1e-6)
    assert size > 0
    with pytest.raises(ValueError, match="workspace"):
        tilewise.attention_backward(
            output, query, key, value, output, lse, workspace=workspace[:-1]
        )
