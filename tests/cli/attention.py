"""Attention and its gradients by finite sums over plain lists: one head of one sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

Matrix = list[list[float]]


@dataclass
class Head:
    """Rows of query, key and value, who sees whom, and what is added to the scores."""

    query: Matrix
    key: Matrix
    value: Matrix
    sees: Callable[[int, int], bool] = lambda _i, _j: True
    bias: Callable[[int, int], float] = lambda _i, _j: 0.0
    softcap: float = 0.0
    sink: float = -math.inf


@dataclass
class Gradients:
    query: Matrix
    key: Matrix
    value: Matrix
    bias: Matrix
    sink: float = 0.0


@dataclass
class Result:
    output: Matrix = field(default_factory=list)
    lse: list[float] = field(default_factory=list)
    weights: Matrix = field(default_factory=list)


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b))


def score(head: Head, i: int, j: int) -> tuple[float, float]:
    """The score of query i and key j, and its derivative by their product."""
    scale = 1 / math.sqrt(len(head.query[i]))
    value, slope = scale * dot(head.query[i], head.key[j]), scale
    if head.softcap:
        bent = math.tanh(value / head.softcap)
        value, slope = head.softcap * bent, scale * (1 - bent * bent)
    return value + head.bias(i, j), slope


def forward(head: Head) -> Result:
    result = Result()
    for i in range(len(head.query)):
        scores = [
            score(head, i, j)[0] if head.sees(i, j) else -math.inf for j in range(len(head.key))
        ]
        largest = max([*scores, head.sink])
        if largest == -math.inf:
            result.output.append([0.0] * len(head.value[0]))
            result.lse.append(-math.inf)
            result.weights.append([0.0] * len(head.key))
            continue
        total = sum(math.exp(s - largest) for s in [*scores, head.sink])
        weights = [math.exp(s - largest) / total for s in scores]
        columns = zip(*head.value)
        result.output.append([dot(weights, list(column)) for column in columns])
        result.lse.append(largest + math.log(total))
        result.weights.append(weights)
    return result


def backward(head: Head, arriving: Matrix) -> Gradients:
    result = forward(head)
    gradients = Gradients(
        query=[[0.0] * len(row) for row in head.query],
        key=[[0.0] * len(row) for row in head.key],
        value=[[0.0] * len(row) for row in head.value],
        bias=[[0.0] * len(head.key) for _ in head.query],
    )
    for i, weights in enumerate(result.weights):
        delta = dot(arriving[i], result.output[i])
        if head.sink > -math.inf:
            gradients.sink -= math.exp(head.sink - result.lse[i]) * delta
        for j, weight in enumerate(weights):
            at_score = weight * (dot(arriving[i], head.value[j]) - delta)
            gradients.bias[i][j] = at_score
            slope = score(head, i, j)[1]
            for d, arrived in enumerate(arriving[i]):
                gradients.value[j][d] += weight * arrived
            for d in range(len(head.query[i])):
                gradients.query[i][d] += at_score * slope * head.key[j][d]
                gradients.key[j][d] += at_score * slope * head.query[i][d]
    return gradients
