"""Sequences of different lengths: packed, padded on either side, in pages, picked by an index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from reference import Array, Attention, arrays, assert_close, visible

QUERY_LENGTHS, KEY_LENGTHS = (5, 0, 12, 1), (9, 4, 12, 0)


def pack(lengths: tuple[int, ...]) -> Array:
    return np.cumsum([0, *lengths])


def packed(dtype: Any = np.float64) -> tuple[Array, Array, Array]:
    query, key, value = arrays(batch=1, queries=18, keys=25, dtype=dtype)
    return query[0], key[0], value[0]


def alone(parts: tuple[Array, Array, Array], sequence: int, **words: Any) -> Attention:
    """Sequence number `sequence` of packed arrays, causal, as a call of its own."""
    queries, keys = QUERY_LENGTHS[sequence], KEY_LENGTHS[sequence]
    rows = slice(*pack(QUERY_LENGTHS)[sequence : sequence + 2])
    columns = slice(*pack(KEY_LENGTHS)[sequence : sequence + 2])
    query, key, value = parts
    seen = visible(queries, keys, right=0, diagonal=keys - queries)
    return Attention(query[None, rows], key[None, columns], value[None, columns], seen, **words)


OPTIONS: dict[str, Any] = {
    "query_offsets": pack(QUERY_LENGTHS),
    "key_offsets": pack(KEY_LENGTHS).astype(np.int32),
    "causal": True,
}


@pytest.mark.parametrize("bounds", [{}, {"max_query_length": 12, "max_key_length": 20}])
def test_packed(bounds: dict[str, Any]) -> None:
    parts = packed()
    output, lse = tilewise.attention(*parts, return_lse=True, **{**OPTIONS, **bounds})
    assert lse.shape == (4, 18)
    for sequence in range(4):
        wanted = alone(parts, sequence)
        rows = slice(*pack(QUERY_LENGTHS)[sequence : sequence + 2])
        assert_close(output[rows], wanted.output[0], 1e-13)
        assert_close(lse[:, rows], wanted.lse[0], 1e-13)


def test_packed_backward() -> None:
    parts = packed()
    output, lse = tilewise.attention(*parts, return_lse=True, **OPTIONS)
    arriving = np.random.default_rng(1).standard_normal(output.shape)
    found = tilewise.attention_backward(arriving, *parts, output, lse, **OPTIONS)
    assert found.query is not None
    assert found.key is not None
    assert found.value is not None
    for sequence in range(4):
        rows = slice(*pack(QUERY_LENGTHS)[sequence : sequence + 2])
        columns = slice(*pack(KEY_LENGTHS)[sequence : sequence + 2])
        wanted = alone(parts, sequence).gradients(arriving[None, rows])
        assert_close(found.query[rows], wanted["query"][0], 1e-12)
        assert_close(found.key[columns], wanted["key"][0], 1e-12)
        assert_close(found.value[columns], wanted["value"][0], 1e-12)


def test_packed_probabilities() -> None:
    parts = packed()
    found = tilewise.attention_probabilities(*parts[:2], **OPTIONS)
    assert found.shape == (4, 4, 12, 12)
    for sequence, (queries, keys) in enumerate(zip(QUERY_LENGTHS, KEY_LENGTHS)):
        if queries == 0 or keys == 0:
            assert not found[sequence].any()
            continue
        corner = found[sequence, :, :queries, :keys]
        assert_close(
            corner / corner.sum(-1, keepdims=True), alone(parts, sequence).probability[0], 1e-13
        )


@pytest.mark.parametrize(
    ("bounds", "shape"),
    [
        ({"max_query_length": 15, "max_key_length": 20}, (15, 20)),
        ({"max_query_length": 2**39, "max_key_length": 2**39}, (18, 25)),
        ({"max_query_length": 0, "max_key_length": 0}, (12, 12)),
    ],
)
def test_probabilities_within_bounds(bounds: dict[str, Any], shape: tuple[int, int]) -> None:
    query, key, _ = packed()
    found = tilewise.attention_probabilities(query, key, **OPTIONS, **bounds)
    assert found.shape == (4, 4, *shape)
    wanted = tilewise.attention_probabilities(query, key, **OPTIONS)
    assert_close(found[..., :12, :12], wanted, 1e-13)
    assert not found[..., 12:, :].any()
    assert not found[..., 12:].any()


def test_probabilities_of_offsets_beyond_the_tokens() -> None:
    query, key, _ = packed()
    options = {**OPTIONS, "query_offsets": [0, 2**45, 2**45, 2**45, 2**45]}
    with pytest.raises(ValueError, match=r"query_offsets ends at 35184372088832 but query has 18"):
        tilewise.attention_probabilities(query, key, **options)


def test_rows_that_no_sequence_owns() -> None:
    query, key, value = packed()
    options = {**OPTIONS, "query_offsets": [2, 5, 5, 10, 11], "key_offsets": [0, 4, 8, 20, 20]}
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    for unowned in (slice(0, 2), slice(11, 18)):
        assert (output[unowned] == 0).all()
        assert (lse[:, unowned] == -np.inf).all()
    kept = np.full_like(output, 77)
    tilewise.attention(query, key, value, out=kept, **options)
    assert (kept[:2] == 77).all()
    assert (kept[11:] == 77).all()
    np.testing.assert_array_equal(kept[2:11], output[2:11])
    gradients = tilewise.attention_backward(output, query, key, value, output, lse, **options)
    assert gradients.query is not None
    assert gradients.key is not None
    assert not gradients.query[11:].any()
    assert not gradients.key[20:].any()


@pytest.mark.parametrize(
    "options", [{"query_lengths": [10, 19]}, {"query_start": [3, 0]}, {"key_lengths": [9, 37]}]
)
def test_new_results_hold_nothing_old(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that no sequence owns are 0 even where new memory is not."""

    def dirty(shape: Any, dtype: Any = float) -> Array:
        old: Array = np.full(np.zeros(shape, dtype).nbytes, 255, np.uint8).view(dtype)
        return old.reshape(shape)

    query, key, value = arrays()
    wanted = tilewise.attention(query, key, value, **options)
    monkeypatch.setattr(np, "empty", dirty)
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    np.testing.assert_array_equal(output, wanted)
    gradients = tilewise.attention_backward(output, query, key, value, output, lse, **options)
    for name in ("query", "key", "value"):
        assert np.isfinite(getattr(gradients, name)).all()


def test_lengths_and_starts() -> None:
    query, key, value = arrays()
    key[0, :4], key[0, 20:], key[1, 30:] = np.nan, np.nan, np.nan
    value[0, :4], value[0, 20:], value[1, 30:] = np.nan, np.nan, np.nan
    output, lse = tilewise.attention(
        query,
        key,
        value,
        causal=True,
        query_lengths=[10, 19],
        query_start=[3, 0],
        key_lengths=[20, 30],
        key_start=[4, 0],
        return_lse=True,
    )
    limits = [((3, 10), (4, 20)), ((0, 19), (0, 30))]
    for row, ((first, last), (first_key, last_key)) in enumerate(limits):
        queries, keys = last - first, last_key - first_key
        wanted = Attention(
            query[row : row + 1, first:last],
            key[row : row + 1, first_key:last_key],
            value[row : row + 1, first_key:last_key],
            visible(queries, keys, right=0, diagonal=keys - queries),
        )
        assert_close(output[row, first:last], wanted.output[0], 1e-13)
        assert_close(lse[row, :, first:last], wanted.lse[0], 1e-13)
    assert (output[0, :3] == 0).all()
    assert (output[0, 10:] == 0).all()


def paged(array: Array, table: Array, page_size: int, pages: int) -> Array:
    """Spreads (batch, length, heads, dim) over pages, with NaN in the pages that nobody lists."""
    result = np.full((pages, page_size, *array.shape[2:]), np.nan, array.dtype)
    for row, columns in enumerate(table):
        for column, page in enumerate(columns):
            piece = array[row, column * page_size : (column + 1) * page_size]
            result[page, : len(piece)] = piece
    return result


@pytest.mark.parametrize("page_size", [5, 16])
def test_pages(page_size: int) -> None:
    query, key, value = arrays(dtype=np.float32)
    columns = -(-37 // page_size)
    order = np.random.default_rng(2).permutation(2 * columns + 3)
    table = order[: 2 * columns].reshape(2, columns).astype(np.int32)
    pages = (paged(array, table, page_size, len(order)) for array in (key, value))
    lengths = [37, 21]
    output = tilewise.attention(query, *pages, page_table=table, key_lengths=lengths, causal=True)
    wanted = tilewise.attention(query, key, value, key_lengths=lengths, causal=True)
    assert_close(output, wanted, 1e-6)


def test_pages_in_probabilities() -> None:
    query, key, _ = arrays(dtype=np.float32)
    table = np.random.default_rng(2).permutation(12)[:10].reshape(2, 5)
    found = tilewise.attention_probabilities(
        query, paged(key, table, 8, 12), page_table=table, key_lengths=[37, 21]
    )
    wanted = tilewise.attention_probabilities(query, key, key_lengths=[37, 21])
    assert found.shape == (2, 4, 19, 40)
    assert_close(found[..., :37], wanted, 1e-6)
    assert not found[..., 37:].any()


def test_batch_index() -> None:
    query, key, value = arrays(batch=3)
    index = np.array([2, 0])
    output = tilewise.attention(query[:2], key, value, cache_batch_index=index)
    assert_close(output, Attention(query[:2], key[index], value[index]).output, 1e-13)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"key_lengths": [3]}, 16),
        ({"key_lengths": [3], "max_key_length": 3}, 3),
        ({"key_lengths": [3], "max_key_length": 40}, 16),
        ({"key_lengths": [3], "page_table": [[2]]}, 16),
        ({"key_lengths": [3], "page_table": [[2, 1]]}, 32),
        ({"key_lengths": [3], "page_table": [[2]], "max_key_length": 3}, 3),
        ({"key_lengths": [3], "page_table": [[2]], "max_key_length": 40}, 16),
        ({"key_offsets": [0, 7]}, 7),
        ({"key_offsets": [0, 7], "key_lengths": [3], "key_start": [1]}, 7),
        ({"key_offsets": [0, 7], "max_key_length": 9}, 9),
        ({"key_offsets": [0, 7], "max_key_length": 40}, 16),
    ],
)
def test_how_large_a_mask_over_keys_with_a_bound_is(options: dict[str, Any], needed: int) -> None:
    query = np.ones((1, 2, 1, 8), np.float32)
    pages = np.ones((4, 16, 1, 8), np.float32)
    key = pages[0] if "key_offsets" in options else pages
    if "page_table" not in options and "key_offsets" not in options:
        options = {**options, "cache_batch_index": [1]}
    tilewise.attention(query, key, key, mask=np.ones((2, needed), bool), **options)
    tilewise.attention(query, key, key, mask=np.ones((2, needed + 1), bool), **options)
    with pytest.raises(ValueError, match=rf"^mask has shape .* at least {needed} or 1\)"):
        tilewise.attention(query, key, key, mask=np.ones((2, needed - 1), bool), **options)
