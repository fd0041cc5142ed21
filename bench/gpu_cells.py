"""What bench/gpu_tables.py times: a cell's problem, its tensors, and two contestants in turns."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass, field
from typing import Any, Callable

import tilewise
import tilewise.torch
import torch
from torch import Tensor

TOKENS = 16384
WIDTH = 2048  # heads * dim
BATCH_SECONDS = 0.006
TWO_SIDED_95 = {3: 3.18, 5: 2.57, 7: 2.36, 9: 2.26, 11: 2.2, 15: 2.13}  # Student's t of n pairs
Run = Callable[[], Any]


@dataclass
class Cell:
    """One problem, for either direction."""

    length: int
    dim: int
    causal: bool = False
    dtype: str = "bfloat16"
    tokens: int = TOKENS
    heads: int = 0  # 0: as many as make WIDTH
    key_heads: int = 0
    keys: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0  # of the pairs, where options hide some

    def operations(self, backward: bool) -> float:
        """Floating-point operations of the visible pairs."""
        keys = self.keys or self.length
        pairs = self.batch * self.head_count * self.length * keys * self.share
        if self.causal:
            pairs *= (keys - (self.length - 1) / 2) / keys
        return pairs * self.dim * (10 if backward else 4)

    @property
    def batch(self) -> int:
        return max(1, self.tokens // self.length)

    @property
    def head_count(self) -> int:
        return self.heads or max(1, WIDTH // self.dim)

    @property
    def is_grouped(self) -> bool:
        return self.key_heads not in (0, self.head_count)


def draw(cell: Cell, device: str = "cuda") -> list[Tensor]:
    """Query, key and value: (batch, length, heads, dim), packed (tokens, heads, dim)."""
    kind: dict[str, Any] = {"dtype": getattr(torch, cell.dtype), "device": device}
    key_heads = cell.key_heads or cell.head_count
    keys = cell.keys or cell.length
    shapes = [(cell.length, cell.head_count), (keys, key_heads), (keys, key_heads)]
    front = () if "query_offsets" in cell.options else (cell.batch,)
    return [
        torch.randn((*front, rows, heads, cell.dim), **kind).requires_grad_()
        for rows, heads in shapes
    ]


def features(length: int, heads: int, device: str) -> dict[str, dict[str, Any]]:
    """Options of each feature alone, by its name."""
    there: dict[str, Any] = {"device": device}
    bias = torch.randn(1, heads, length, length, dtype=torch.bfloat16, **there)
    padding = torch.arange(length, **there) < length  # all True, which a kernel cannot know
    return {
        "none": {},
        "softcap": {"softcap": 30.0},
        "ALiBi": {"alibi_slopes": torch.rand(heads, **there) / 8},
        "bias": {"bias": bias},
        "bias with gradient": {"bias": bias.clone().requires_grad_()},
        "random mask": {"mask": torch.rand(1, 1, length, length, **there) < 0.8},
        "padding mask": {"mask": padding[None, None, None]},
        "dropout": {"dropout": 0.1, "seed": 7},
        "sinks": {"sinks": torch.randn(heads, **there)},
    }


def log_normal(tokens: int, device: str) -> tuple[list[int], dict[str, Any]]:
    """Log-normal lengths from 128 to 8192, of at least so many tokens in all, and their options."""
    torch.manual_seed(1)
    lengths: list[int] = []
    while sum(lengths) < tokens:
        drawn = int(torch.empty(1).log_normal_(6.8, 0.9).clamp(128, 8192).item())
        lengths.append(drawn)
    ends = torch.tensor([0, *lengths]).cumsum(0)
    offsets = ends.to(device=device, dtype=torch.int32)
    longest = {"max_query_length": max(lengths), "max_key_length": max(lengths)}
    return lengths, {"query_offsets": offsets, "key_offsets": offsets, **longest}


def directed(forward: Callable[[], Tensor], given: list[Tensor], backward: bool) -> Run:
    """The call that is timed: inference, or the gradients of a graph that is kept."""
    if not backward:

        def alone() -> Tensor:
            with torch.no_grad():
                return forward()

        return alone
    output = forward()
    gradient = torch.randn_like(output)
    return lambda: torch.autograd.grad(output, given, gradient, retain_graph=True)


def attention(cell: Cell, given: list[Tensor]) -> Tensor:
    """Tilewise's output of a cell."""
    return tilewise.attention(*given, causal=cell.causal, **cell.options)


def ours(cell: Cell, given: list[Tensor], backward: bool) -> Run:
    """Tilewise's call of a cell."""
    options = cell.options.values()
    wanted = given + [x for x in options if isinstance(x, Tensor) and x.requires_grad]
    return directed(lambda: attention(cell, given), wanted, backward)


def milliseconds(run: Run, runs: int) -> float:
    """Milliseconds of one run, the mean of `runs` in a row; without a GPU by the host's clock."""
    if not torch.cuda.is_available():
        begin = time.perf_counter()
        for _ in range(runs):
            run()
        return 1e3 * (time.perf_counter() - begin) / runs
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(runs):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / runs


@dataclass
class Found:
    """The times of a contestant, or of a pair of them."""

    ours: float
    peer: float | None = None
    ratio: float | None = None
    limits: tuple[float, float] | None = None


def contest(first: Run, second: Run | None, pairs: int) -> Found:
    """Times one or both contestants in turns, in milliseconds."""
    contestants = [first] if second is None else [first, second]
    counts = []
    for run in contestants:
        for _ in range(2):
            run()
        counts.append(max(1, min(200, int(BATCH_SECONDS * 1e3 / max(milliseconds(run, 2), 1e-3)))))
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(pairs):
        for run, count, into in zip(contestants, counts, times):
            into.append(milliseconds(run, count))
    if second is None:
        return Found(statistics.median(times[0]))
    logs = [math.log(peer / own) for own, peer in zip(*times)]
    mean = statistics.fmean(logs)
    reach = TWO_SIDED_95.get(pairs, 2.0) * statistics.stdev(logs) / math.sqrt(pairs)
    limits = (math.exp(mean - reach), math.exp(mean + reach))
    return Found(statistics.median(times[0]), statistics.median(times[1]), math.exp(mean), limits)
