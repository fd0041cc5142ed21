"""Rotary embeddings, and caches that grow."""

from __future__ import annotations

import numpy as np
import pytest
import tilewise
from reference import Array, arrays, assert_close


def tables(positions: int = 64, columns: int = 6) -> tuple[Array, Array]:
    angle = np.arange(positions)[:, None] * 10.0 ** -np.arange(columns)
    return np.cos(angle), np.sin(angle)


def turned(x: Array, positions: Array, interleaved: bool = False) -> Array:
    """x (length, heads, dim), rotated as complex numbers."""
    cosine, sine = tables()
    columns = cosine.shape[1]
    first = np.arange(columns) * (2 if interleaved else 1)
    second = first + (1 if interleaved else columns)
    factor = (cosine + 1j * sine)[positions][:, None]
    product = (x[..., first] + 1j * x[..., second]) * factor
    result = x.astype(np.float64)
    result[..., first], result[..., second] = product.real, product.imag
    return result


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_rotary(interleaved: bool, fixed: bool) -> None:
    x, _, _ = arrays()
    found = tilewise.rotary(x, *tables(), interleaved, positions=[7, 30], fixed=fixed)
    for row, position in enumerate((7, 30)):
        places = np.full(19, position) if fixed else position + np.arange(19)
        assert_close(found[row], turned(x[row], places, interleaved), 1e-14)
    back = tilewise.rotary(
        found, *tables(), interleaved, positions=[7, 30], inverse=True, fixed=fixed
    )
    assert_close(back, x, 1e-14)


def test_rotary_of_packed_rows() -> None:
    x = arrays()[0][0]
    out = np.full_like(x, 5)
    found = tilewise.rotary(
        x, *tables(), offsets=[0, 6, 18], lengths=[4, 12], positions=[0, 3], out=out
    )
    assert found is out
    assert_close(found[:4], turned(x[:4], np.arange(4)), 1e-14)
    assert_close(found[6:18], turned(x[6:18], 3 + np.arange(12)), 1e-14)
    assert (found[4:6] == 5).all()
    assert (found[18:] == 5).all()
    fresh = tilewise.rotary(x, *tables(), offsets=[0, 6, 18], lengths=[4, 12])
    assert not fresh[4:6].any()


def test_append() -> None:
    _, key, value = arrays(keys=5)
    key_cache, value_cache = np.full((2, 11, 2, 16), 3.0), np.full((2, 11, 2, 24), 3.0)
    assert tilewise.append(key, value, key_cache, value_cache, lengths=[0, 6]) is None
    np.testing.assert_array_equal(key_cache[0, :5], key[0])
    np.testing.assert_array_equal(key_cache[1, 6:], key[1])
    np.testing.assert_array_equal(value_cache[1, 6:], value[1])
    assert (key_cache[0, 5:] == 3).all()
    assert (key_cache[1, :6] == 3).all()
    assert (value_cache[0, 5:] == 3).all()


@pytest.mark.parametrize("fixed_query", [False, True])
def test_append_rotates(fixed_query: bool) -> None:
    query, key, value = arrays(queries=5, keys=5)
    key_cache, value_cache = np.zeros((2, 20, 2, 16)), np.zeros((2, 20, 2, 24))
    cosine, sine = tables()
    rotated = tilewise.append(
        key,
        value,
        key_cache,
        value_cache,
        lengths=[2, 9],
        cosine=cosine,
        sine=sine,
        query=query,
        fixed_query=fixed_query,
    )
    assert rotated is not None
    for row, length in enumerate((2, 9)):
        places = length + np.arange(5)
        assert_close(key_cache[row, places], turned(key[row], places), 1e-14)
        np.testing.assert_array_equal(value_cache[row, places], value[row])
        query_places = np.full(5, length) if fixed_query else places
        assert_close(rotated[row], turned(query[row], query_places), 1e-14)


def test_append_of_packed_rows_into_picked_rows() -> None:
    _, key, value = arrays(batch=1, keys=7)
    key_cache, value_cache = np.zeros((3, 9, 2, 16)), np.zeros((3, 9, 2, 24))
    tilewise.append(
        key[0],
        value[0],
        key_cache,
        value_cache,
        lengths=[1, 3],
        key_offsets=[0, 2, 7],
        cache_batch_index=[2, 0],
    )
    np.testing.assert_array_equal(key_cache[2, 1:3], key[0, :2])
    np.testing.assert_array_equal(value_cache[0, 3:8], value[0, 2:])
    assert not key_cache[1].any()
    assert not key_cache[2, 3:].any()


def test_decoding_with_pages() -> None:
    """Token by token through pages gives what one causal call gives."""
    query, key, value = arrays(queries=13, keys=13)
    cosine, sine = tables()
    table = np.array([[4, 0, 6, 1], [2, 7, 3, 5]])
    key_pages, value_pages = np.full((8, 4, 2, 16), np.nan), np.full((8, 4, 2, 24), np.nan)
    steps = []
    for step in range(13):
        now = slice(step, step + 1)
        rotated = tilewise.append(
            key[:, now],
            value[:, now],
            key_pages,
            value_pages,
            lengths=[step, step],
            page_table=table,
            cosine=cosine,
            sine=sine,
            query=query[:, now],
        )
        assert rotated is not None
        steps.append(
            tilewise.attention(
                rotated,
                key_pages,
                value_pages,
                page_table=table,
                key_lengths=[step + 1, step + 1],
                causal=True,
            )
        )
    wanted = tilewise.attention(
        tilewise.rotary(query, cosine, sine),
        tilewise.rotary(key, cosine, sine),
        value,
        causal=True,
    )
    assert_close(np.concatenate(steps, axis=1), wanted, 1e-13)


def test_half_a_rotation_is_refused() -> None:
    query, key, value = arrays(keys=5)
    caches = np.zeros((2, 20, 2, 16)), np.zeros((2, 20, 2, 24))
    with pytest.raises(ValueError, match=r"Of cosine and sine only one is given"):
        tilewise.append(key, value, *caches, lengths=[0, 0], cosine=tables()[0])
    with pytest.raises(ValueError, match=r"query is given without cosine and sine"):
        tilewise.append(key, value, *caches, lengths=[0, 0], query=query)
    with pytest.raises(ValueError, match=r"out takes the rotated query"):
        tilewise.append(key, value, *caches, lengths=[0, 0], out=np.empty_like(query))
    assert not caches[0].any()


def test_an_append_past_the_cache_is_refused() -> None:
    _, key, value = arrays(keys=5)
    key_cache, value_cache = np.zeros((2, 8, 2, 16)), np.zeros((2, 8, 2, 24))
    with pytest.raises(ValueError, match="8"):
        tilewise.append(key, value, key_cache, value_cache, lengths=[0, 4])
    assert not key_cache.any()
