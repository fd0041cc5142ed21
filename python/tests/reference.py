"""Attention and its gradients from the formulas, in float64, with the whole score matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def visible(
    queries: int,
    keys: int,
    *,
    left: int | None = None,
    right: int | None = None,
    diagonal: int = 0,
    chunk: int = 0,
) -> Array:
    """Element by element: which query sees which key."""
    seen = np.ones((queries, keys), bool)
    for i in range(queries):
        for j in range(keys):
            distance = j - i - diagonal
            if left is not None and distance < -left:
                seen[i, j] = False
            if right is not None and distance > right:
                seen[i, j] = False
            if chunk and j // chunk != (i + diagonal) // chunk:
                seen[i, j] = False
    return seen


@dataclass
class Attention:
    """One dense call. query, key, value are (batch, length, heads, dim)."""

    query: Array
    key: Array
    value: Array
    seen: Array | bool = True
    scale: float | None = None
    softcap: float = 0.0
    slopes: Array | None = None
    diagonal: int = 0
    bias: Array | None = None
    sinks: Array | None = None
    keep: Array | None = None  # 0 or 1 / (1 - p) for each probability

    score: Array = field(init=False)
    slope_of_cap: Array | float = field(init=False, default=1.0)
    probability: Array = field(init=False)
    sink_probability: Array = field(init=False)
    output: Array = field(init=False)
    lse: Array = field(init=False)

    def __post_init__(self) -> None:
        self.group = self.query.shape[2] // self.key.shape[2]
        self.q = self.query.astype(np.float64).transpose(0, 2, 1, 3)
        self.k = self._widen(self.key)
        self.v = self._widen(self.value)
        if self.scale is None:
            self.scale = self.query.shape[-1] ** -0.5
        self._score()
        self._softmax()
        dropped = self.probability if self.keep is None else self.probability * self.keep
        self.output = (dropped @ self.v).transpose(0, 2, 1, 3)

    def _widen(self, array: Array) -> Array:
        heads_first = array.astype(np.float64).transpose(0, 2, 1, 3)
        return np.repeat(heads_first, self.group, axis=1)

    def distance(self) -> Array:
        rows: Array = np.arange(self.q.shape[2])[:, None] + self.diagonal
        apart: Array = np.abs(rows - np.arange(self.k.shape[2]))
        return apart.astype(np.float64)

    def _slopes(self) -> Array:
        assert self.slopes is not None
        slopes = np.asarray(self.slopes, np.float64)
        return slopes[..., None, None] if slopes.ndim == 2 else slopes[None, :, None, None]

    def _score(self) -> None:
        assert self.scale is not None
        score = self.scale * (self.q @ self.k.swapaxes(2, 3))
        if self.softcap:
            tanh = np.tanh(score / self.softcap)
            score = self.softcap * tanh
            self.slope_of_cap = 1 - tanh**2
        if self.slopes is not None:
            score = score - self._slopes() * self.distance()
        if self.bias is not None:
            score = score + self.bias.astype(np.float64)
        self.score = np.where(self.seen, score, -np.inf)

    def _softmax(self) -> None:
        sinks: Array = np.full(self.q.shape[1], -np.inf)
        if self.sinks is not None:
            sinks = np.asarray(self.sinks, np.float64)
        sinks = sinks[None, :, None, None]
        highest = np.maximum(self.score.max(-1, keepdims=True, initial=-np.inf), sinks)
        highest = np.where(np.isfinite(highest), highest, 0)
        weight, sink = np.exp(self.score - highest), np.exp(sinks - highest)
        total = weight.sum(-1, keepdims=True) + sink
        safe = np.where(total > 0, total, 1)
        self.probability, self.sink_probability = weight / safe, sink / safe
        with np.errstate(divide="ignore"):
            self.lse = (np.log(total) + highest)[..., 0]

    def gradients(self, arriving: Array, arriving_lse: Array | None = None) -> dict[str, Array]:
        """For output and lse: the gradient of each thing that was given."""
        assert self.scale is not None
        incoming = arriving.astype(np.float64).transpose(0, 2, 1, 3)
        keep: Array | float = 1.0 if self.keep is None else self.keep
        from_value = (incoming @ self.v.swapaxes(2, 3)) * keep
        delta = (self.probability * from_value).sum(-1, keepdims=True)
        if arriving_lse is not None:
            delta = delta - arriving_lse.astype(np.float64)[..., None]
        from_score = self.probability * (from_value - delta)
        from_product = self.scale * from_score * self.slope_of_cap
        found = {
            "query": (from_product @ self.k).transpose(0, 2, 1, 3),
            "key": self._narrow(from_product.swapaxes(2, 3) @ self.q),
            "value": self._narrow((self.probability * keep).swapaxes(2, 3) @ incoming),
        }
        if self.bias is not None:
            found["bias"] = sum_to(from_score, self.bias.shape)
        if self.slopes is not None:
            by_head = -(from_score * self.distance()).sum((2, 3))
            found["slopes"] = by_head if np.ndim(self.slopes) == 2 else by_head.sum(0)
        if self.sinks is not None:
            found["sinks"] = -(self.sink_probability * delta).sum((0, 2, 3))
        return found

    def _narrow(self, array: Array) -> Array:
        """Sums over the query heads that share a key head."""
        batch, heads, length, dim = array.shape
        shape = (batch, heads // self.group, self.group, length, dim)
        grouped: Array = array.reshape(shape).sum(2)
        return grouped.transpose(0, 2, 1, 3)


def sum_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Undoes the broadcasting of `shape`, which may have fewer dimensions."""
    full = (1,) * (array.ndim - len(shape)) + shape
    axes = tuple(axis for axis, size in enumerate(full) if size == 1)
    summed: Array = array.sum(axes, keepdims=True)
    return summed.reshape(shape)


def arrays(
    seed: int = 0,
    *,
    batch: int = 2,
    queries: int = 19,
    keys: int = 37,
    heads: int = 4,
    key_heads: int = 2,
    dim: int = 16,
    value_dim: int = 24,
    dtype: Any = np.float64,
) -> tuple[Array, Array, Array]:
    """query, key and value of odd sizes."""
    random = np.random.default_rng(seed)
    shapes = (
        (batch, queries, heads, dim),
        (batch, keys, key_heads, dim),
        (batch, keys, key_heads, value_dim),
    )
    query, key, value = (random.standard_normal(shape).astype(dtype) for shape in shapes)
    return query, key, value


def assert_close(found: Array, wanted: Array, tolerance: float) -> None:
    """Equal where infinite; elsewhere within `tolerance` of the largest element."""
    found, wanted = found.astype(np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(found[~finite], wanted[~finite])
    size = np.abs(wanted[finite]).max(initial=0)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=0, atol=tolerance * (1 + size))
