"""Dropout: one mask for every pass, picked by seed, offset and place."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
import tilewise
from reference import Array, Attention, arrays, assert_close

PROBABILITY = 0.25
OPTIONS: dict[str, Any] = {"dropout": PROBABILITY, "seed": 2**63 + 5, "dropout_offset": 12}


def kept(query: Array, key: Array, **options: Any) -> Array:
    found: Array = tilewise.attention_probabilities(query, key, **{**OPTIONS, **options}) > 0
    return found


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


def run_without_a_seed(query: Array, key: Array, value: Array) -> Array:
    return tilewise.attention(query, key, value, dropout=PROBABILITY)


def test_without_a_seed_each_call_draws_another_mask() -> None:
    query, key, value = arrays(dtype=np.float32)
    drawn = [run_without_a_seed(query, key, value) for _ in range(4)]
    for one, other in itertools.combinations(drawn, 2):
        assert (one != other).any()


def test_seeds_are_not_drawn_from_generators_that_forks_have_in_common() -> None:
    query, key, value = arrays(dtype=np.float32)
    drawn = []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)
        drawn.append(run_without_a_seed(query, key, value))
    assert (drawn[0] != drawn[1]).any()


def test_what_belongs_to_another_call_needs_its_seed() -> None:
    query, key, value = arrays(dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True, dropout=PROBABILITY)
    options: Any
    for options in ({"dropout": PROBABILITY}, {"dropout": PROBABILITY, "seed": None}):
        with pytest.raises(
            ValueError, match=r"^dropout is 0\.25 without a seed.*same ones\. Pick a"
        ):
            tilewise.attention_backward(output, query, key, value, output, lse, **options)
        with pytest.raises(ValueError, match=r"^dropout is 0\.25 without a seed.*Pick a seed"):
            tilewise.attention_probabilities(query, key, **options)
    shapes = query.shape, key.shape, value.shape
    assert tilewise.workspace_bytes(*shapes, operation="backward", dropout=PROBABILITY) > 0


def test_seeds_that_are_given_as_a_state() -> None:
    query, key, value = arrays(dtype=np.float32)
    wanted = tilewise.attention(query, key, value, **OPTIONS)
    state = np.array([OPTIONS["seed"], OPTIONS["dropout_offset"]], np.uint64)
    options: dict[str, Any] = {"dropout": PROBABILITY, "dropout_state": state}
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    np.testing.assert_array_equal(output, wanted)
    np.testing.assert_array_equal(
        tilewise.attention_backward(output, query, key, value, output, lse, **options).value,
        tilewise.attention_backward(output, query, key, value, output, lse, **OPTIONS).value,
    )
    np.testing.assert_array_equal(
        tilewise.attention_probabilities(query, key, **options) > 0, kept(query, key)
    )
    state[1] += 1
    assert (tilewise.attention(query, key, value, **options) != wanted).any()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"seed": 1}, ValueError, "dropout_state is given beside seed or dropout_offset"),
        ({"dropout_offset": 1}, ValueError, "dropout_state is given beside seed"),
        ({"dropout_state": [1, 2]}, TypeError, "dropout_state is a list; pass a NumPy array"),
        ({"dropout_state": np.zeros(3, np.uint64)}, ValueError, r"has dtype uint64, shape \(3,\)"),
        ({"dropout_state": np.zeros(2, np.int64)}, ValueError, "dropout_state has dtype int64"),
        ({"dropout_state": np.zeros(4, np.uint64)[::2]}, ValueError, r"strides \(16,\)"),
        ({"dropout_state": np.zeros(2, ">u8")}, ValueError, "dropout_state has dtype >u8"),
    ],
)
def test_states_that_are_refused(
    options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    query, key, value = arrays(dtype=np.float32)
    options = {"dropout_state": np.zeros(2, np.uint64), **options}
    with pytest.raises(error, match=sentence):
        tilewise.attention(query, key, value, dropout=PROBABILITY, **options)
