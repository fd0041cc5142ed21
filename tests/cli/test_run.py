"""`tilewise run` against attention by finite sums: forward, backward, packed, every type."""

from __future__ import annotations

import json
import random
import struct
import unittest
from collections.abc import Callable

import attention
from attention import Head, Matrix
from program import ProgramTest, start

QUERIES, KEYS, DIM, VALUE_DIM = 5, 7, 4, 3


def numbers(count: int, seed: int) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(0, 1) for _ in range(count)]


def rows(values: list[float], heads: int, head: int, dim: int) -> Matrix:
    """One head's rows of a flat (length, heads, dim) tensor."""
    length = len(values) // (heads * dim)
    starts = [(i * heads + head) * dim for i in range(length)]
    return [values[at : at + dim] for at in starts]


def interleave(per_head: list[Matrix]) -> list[float]:
    """Heads of rows back into a flat (length, heads, dim) tensor."""
    return [x for group in zip(*per_head) for row in group for x in row]


def biased(bias: list[float]) -> Callable[[int, int], float]:
    return lambda i, j: bias[i * KEYS + j]


def biased_by_distance(row: list[float], slope: float) -> Callable[[int, int], float]:
    return lambda i, j: row[j] - slope * abs(i + KEYS - QUERIES - j)


class RunTest(ProgramTest):
    """Two query heads that share one key head, in float64."""

    def setUp(self) -> None:
        super().setUp()
        self.query = numbers(QUERIES * 2 * DIM, 1)
        self.key = numbers(KEYS * DIM, 2)
        self.value = numbers(KEYS * VALUE_DIM, 3)
        self.arriving = numbers(QUERIES * 2 * VALUE_DIM, 4)
        self.inputs = [
            "run",
            *("--query", self.give("q", (1, QUERIES, 2, DIM), self.query)),
            *("--key", self.give("k", (1, KEYS, 1, DIM), self.key)),
            *("--value", self.give("v", (1, KEYS, 1, VALUE_DIM), self.value)),
        ]

    def heads(self) -> list[Head]:
        key, value = rows(self.key, 1, 0, DIM), rows(self.value, 1, 0, VALUE_DIM)
        return [Head(rows(self.query, 2, h, DIM), key, value) for h in range(2)]

    def run_forward(self, *words: object) -> None:
        result = start(*self.inputs, "--output", self.path("o"), "--lse", self.path("lse"), *words)
        self.assertEqual(result.returncode, 0, result.stderr)

    def assert_forward(self, heads: list[Head]) -> None:
        results = [attention.forward(head) for head in heads]
        output, lse = self.take("o"), self.take("lse")
        self.assertEqual((output.kind, output.shape), ("<f8", (1, QUERIES, 2, VALUE_DIM)))
        self.assertEqual((lse.kind, lse.shape), ("<f8", (1, 2, QUERIES)))
        self.assert_close(output.values, interleave([r.output for r in results]), 1e-12)
        self.assert_close(lse.values, [x for r in results for x in r.lse], 1e-12)

    def test_plain(self) -> None:
        self.run_forward()
        self.assert_forward(self.heads())

    def test_causal_ends_bottom_right(self) -> None:
        self.run_forward("--causal")
        heads = self.heads()
        for head in heads:
            head.sees = lambda i, j: j <= i + KEYS - QUERIES
        self.assert_forward(heads)

    def test_window_and_diagonal(self) -> None:
        self.run_forward("--window", "1,2", "--diagonal", "-3")
        heads = self.heads()
        for head in heads:
            head.sees = lambda i, j: -1 <= j - i + 3 <= 2
        self.assert_forward(heads)

    def test_chunk_and_softcap(self) -> None:
        self.run_forward("--chunk", "3", "--softcap", "0.7", "--diagonal", "top-left")
        heads = self.heads()
        for head in heads:
            head.sees = lambda i, j: i // 3 == j // 3
            head.softcap = 0.7
        self.assert_forward(heads)

    def test_mask_bias_slopes_and_sinks(self) -> None:
        visible = [float((3 * at) % 4 != 0) for at in range(QUERIES * KEYS)]
        bias = numbers(2 * KEYS, 5)
        self.run_forward(
            *("--mask", self.give("m", (1, 1, QUERIES, KEYS), visible, "|b1")),
            *("--bias", self.give("b", (1, 2, 1, KEYS), bias)),
            *("--slopes", self.give("slopes", (2,), [0.5, 0.25], "<f4")),
            *("--sinks", self.give("sinks", (2,), [0.5, -1.0], "<f4")),
        )
        heads = self.heads()
        for h, head in enumerate(heads):
            head.sees = lambda i, j: visible[i * KEYS + j] != 0
            head.bias = biased_by_distance(bias[h * KEYS : (h + 1) * KEYS], (0.5, 0.25)[h])
            head.sink = (0.5, -1.0)[h]
        self.assert_forward(heads)

    def test_backward(self) -> None:
        bias = numbers(2 * QUERIES * KEYS, 6)
        result = start(
            *self.inputs,
            "--causal",
            *("--bias", self.give("b", (1, 2, QUERIES, KEYS), bias)),
            *("--sinks", self.give("sinks", (2,), [0.5, -1.0], "<f4")),
            *("--output-gradient", self.give("do", (1, QUERIES, 2, VALUE_DIM), self.arriving)),
            *("--query-gradient", self.path("dq"), "--key-gradient", self.path("dk")),
            *("--value-gradient", self.path("dv"), "--bias-gradient", self.path("db")),
            *("--sinks-gradient", self.path("ds"), "--json"),
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        heads = self.heads()
        for h, head in enumerate(heads):
            head.sees = lambda i, j: j <= i + KEYS - QUERIES
            head.bias = biased(bias[h * QUERIES * KEYS : (h + 1) * QUERIES * KEYS])
            head.sink = (0.5, -1.0)[h]
        per_head = [
            attention.backward(head, rows(self.arriving, 2, h, VALUE_DIM))
            for h, head in enumerate(heads)
        ]
        wanted = {
            "dq": interleave([g.query for g in per_head]),
            "dk": [a + b for a, b in zip(*(interleave([g.key]) for g in per_head))],
            "dv": [a + b for a, b in zip(*(interleave([g.value]) for g in per_head))],
            "db": [x for g in per_head for row in g.bias for x in row],
        }
        for name, values in wanted.items():
            self.assert_close(self.take(name).values, values, 1e-12)
        self.assert_close(self.take("ds").values, [g.sink for g in per_head], 1e-6)
        names = [entry["name"] for entry in json.loads(result.stdout)["outputs"]]
        self.assertEqual(len(names), 5)
        self.assertIn("bias-gradient", names)

    def test_packed_is_each_sequence_alone(self) -> None:
        lengths = (3, 0, 4)
        offsets = self.give("offsets", (4,), [0, 3, 3, 7], "<i4")
        query, key, value = (numbers(7 * DIM, seed) for seed in (7, 8, 9))
        result = start(
            *("run", "--causal", "--query-offsets", offsets, "--key-offsets", offsets),
            *("--query", self.give("pq", (7, 1, DIM), query)),
            *("--key", self.give("pk", (7, 1, DIM), key)),
            *("--value", self.give("pv", (7, 1, DIM), value)),
            *("--output", self.path("o"), "--lse", self.path("lse")),
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        output: list[float] = []
        lse: list[float] = []
        at = 0
        for length in lengths:
            part = slice(at * DIM, (at + length) * DIM)
            head = Head(
                rows(query[part], 1, 0, DIM),
                rows(key[part], 1, 0, DIM),
                rows(value[part], 1, 0, DIM),
            )
            head.sees = lambda i, j: j <= i
            alone = attention.forward(head)
            output += [x for row in alone.output for x in row]
            lse += alone.lse
            at += length
        self.assertEqual(self.take("o").shape, (7, 1, DIM))
        self.assertEqual(self.take("lse").shape, (1, 7))
        self.assert_close(self.take("o").values, output, 1e-12)
        self.assert_close(self.take("lse").values, lse, 1e-12)

    def test_shorter_key_lengths(self) -> None:
        self.run_forward("--key-lengths", self.give("lengths", (1,), [4], "<i8"))
        heads = self.heads()
        for head in heads:
            head.sees = lambda _i, j: j < 4
        self.assert_forward(heads)

    def test_float32_and_float16(self) -> None:
        for kind, tolerance in (("<f4", 1e-5), ("<f2", 5e-3)):
            self.give("q", (1, QUERIES, 2, DIM), self.query, kind)
            self.give("k", (1, KEYS, 1, DIM), self.key, kind)
            self.give("v", (1, KEYS, 1, VALUE_DIM), self.value, kind)
            self.run_forward()
            self.assertEqual(self.take("o").kind, kind)
            self.assertEqual(self.take("lse").kind, "<f4")
            wanted = interleave([attention.forward(head).output for head in self.heads()])
            self.assert_close(self.take("o").values, wanted, tolerance)

    def test_bfloat16_comes_and_goes_as_uint16(self) -> None:
        def bits(values: list[float]) -> list[float]:
            return [float(struct.unpack("<I", struct.pack("<f", x))[0] >> 16) for x in values]

        def widened(values: list[float]) -> list[float]:
            return [struct.unpack("<f", struct.pack("<I", int(x) << 16))[0] for x in values]

        for name, shape, values in (
            ("q", (1, QUERIES, 2, DIM), self.query),
            ("k", (1, KEYS, 1, DIM), self.key),
            ("v", (1, KEYS, 1, VALUE_DIM), self.value),
        ):
            self.give(name, shape, [int(x) for x in bits(values)], "<u2")
        self.query, self.key, self.value = (
            widened(bits(values)) for values in (self.query, self.key, self.value)
        )
        self.run_forward("--bfloat16")
        self.assertEqual(self.take("o").kind, "<u2")
        wanted = interleave([attention.forward(head).output for head in self.heads()])
        self.assert_close(widened(self.take("o").values), wanted, 2e-2)

    def test_output_never_replaces_an_input(self) -> None:
        before = self.path("v").read_bytes()
        result = start(*self.inputs, "--output", self.path("v"))
        self.assertEqual(result.returncode, 2)
        self.assertIn("it is an input of this run", result.stderr)
        self.assertEqual(self.path("v").read_bytes(), before)


if __name__ == "__main__":
    unittest.main()
