"""Dropout: one mask for every pass, picked by seed, offset and place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewise
from reference import Array, Attention, arrays, assert_close

PROBABILITY = 0.25
OPTIONS: dict[str, Any] = {"dropout": PROBABILITY, "seed": 2**63 + 5, "dropout_offset": 12}


def kept(query: Array, key: Array, **options: Any) -> Array:
    return tilewise.attention_probabilities(query, key, **{**OPTIONS, **options}) > 0


def test_forward_and_backward_drop_what_probabilities_say() -> None:
    query, key, value = arrays()
    output, lse = tilewise.attention(query, key, value, return_lse=True, **OPTIONS)
    wanted = Attention(query, key, value, keep=kept(query, key) / (1 - PROBABILITY))
    assert_close(output, wanted.output, 1e-13)
    assert_close(lse, wanted.lse, 1e-13)
    found = tilewise.attention_backward(output, query, key, value, output, lse, **OPTIONS)
    for name, gradient in wanted.gradients(wanted.output).items():
        assert_close(getattr(found, name), gradient, 1e-12)


def test_rate() -> None:
    query, key, _ = arrays(queries=200, keys=300)
    share = kept(query, key).mean()
    deviation = np.sqrt(PROBABILITY * (1 - PROBABILITY) / (2 * 4 * 200 * 300))
    assert abs(share - (1 - PROBABILITY)) < 5 * deviation


def test_same_seed_same_bits() -> None:
    query, key, value = arrays(dtype=np.float32)
    first = tilewise.attention(query, key, value, threads=1, **OPTIONS)
    second = tilewise.attention(query, key, value, threads=2, **OPTIONS)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("other", [{"seed": 6}, {"dropout_offset": 13}])
def test_another_seed_another_mask(other: dict[str, int]) -> None:
    query, key, _ = arrays()
    share = (kept(query, key) == kept(query, key, **other)).mean()
    expected = PROBABILITY**2 + (1 - PROBABILITY) ** 2
    assert share == pytest.approx(expected, abs=0.05)


def test_base_places_a_part_in_the_whole() -> None:
    query, key, _ = arrays()
    whole = kept(query, key)
    part = kept(query[1:, 3:, 2:], key[1:, 6:, 1:], dropout_base=(1, 2, 3, 6))
    np.testing.assert_array_equal(part, whole[1:, 2:, 3:, 6:])


def test_zero_is_none() -> None:
    query, key, value = arrays(dtype=np.float32)
    np.testing.assert_array_equal(
        tilewise.attention(query, key, value, dropout=0.0, seed=3),
        tilewise.attention(query, key, value),
    )
