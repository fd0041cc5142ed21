#!/usr/bin/env python3
"""Prints the tables of the GPU's pages: tilewise beside PyTorch on one GPU, cell by cell.

    bench/gpu_tables.py [--table NAME ...] [--match REGEX] [--pairs 9] [--json FILE]

In a cell the two take turns: a pair is a batch of runs of ours and one of the peer's, each between
two CUDA events. A cell shows both medians, and the mean of the pairs' ratios (above 1 we are
faster) with the limits between which it lies at 95 %. Rates count visible pairs of query and key: 4
operations a pair and dimension forward, 10 backward. Inputs are drawn from a normal distribution.
Backward is timed alone, by autograd from a graph that is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import tilewise
import tilewise.torch
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

TOKENS = 16384
WIDTH = 2048  # heads * dim
BATCH_SECONDS = 0.006
TWO_SIDED_95 = {3: 3.18, 5: 2.57, 7: 2.36, 9: 2.26, 11: 2.2, 15: 2.13}  # Student's t of n pairs
Run = Callable[[], Any]


@dataclass
class Cell:
    """One problem, in one direction."""

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
        """What counts, in operations."""
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


def draw(cell: Cell) -> list[Tensor]:
    """Query, key and value: (batch, length, heads, dim)."""
    kind: dict[str, Any] = {"dtype": getattr(torch, cell.dtype), "device": "cuda"}
    key_heads = cell.key_heads or cell.head_count
    keys = cell.keys or cell.length
    shapes = [(cell.length, cell.head_count), (keys, key_heads), (keys, key_heads)]
    return [
        torch.randn((cell.batch, rows, heads, cell.dim), **kind).requires_grad_()
        for rows, heads in shapes
    ]


def directed(forward: Callable[[], Tensor], given: list[Tensor], backward: bool) -> Run:
    """What is timed: the call in inference, or the gradients from a graph that is kept."""
    if not backward:

        def alone() -> None:
            with torch.no_grad():
                forward()

        return alone
    output = forward()
    gradient = torch.randn_like(output)
    return lambda: torch.autograd.grad(output, given, gradient, retain_graph=True)


def ours(cell: Cell, given: list[Tensor], backward: bool) -> Run:
    """Tilewise's call of a cell."""
    options = dict(cell.options)
    wanted = given + [x for x in options.values() if isinstance(x, Tensor) and x.requires_grad]

    def forward() -> Tensor:
        return tilewise.attention(*given, causal=cell.causal, **options)

    return directed(forward, wanted, backward)


def sdpa(cell: Cell, given: list[Tensor], backward: bool) -> Run:
    """The same by torch's function."""
    turned = [x.detach().transpose(1, 2).contiguous().requires_grad_() for x in given]
    bias = cell.options.get("bias", cell.options.get("mask"))
    if bias is not None:
        bias = bias.detach().requires_grad_(bias.requires_grad)

    def forward() -> Tensor:
        return functional.scaled_dot_product_attention(
            turned[0],
            turned[1],
            turned[2],
            attn_mask=bias,
            is_causal=cell.causal,
            enable_gqa=cell.key_heads not in (0, cell.head_count),
        )

    wanted = turned + ([bias] if bias is not None and bias.requires_grad else [])
    return directed(forward, wanted, backward)


def milliseconds(run: Run, runs: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(runs):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / runs


@dataclass
class Found:
    """What one contestant, or a pair of them, took."""

    ours: float
    peer: float | None = None
    ratio: float | None = None
    limits: tuple[float, float] | None = None


def contest(first: Run, second: Run | None, pairs: int) -> Found:
    """Both in turns; times in milliseconds."""
    contestants = [first] if second is None else [first, second]
    counts = []
    for run in contestants:
        for _ in range(2):
            run()
        torch.cuda.synchronize()
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


class Tables:
    """Each method without an underscore in front is a table."""

    def __init__(self, pairs: int, match: str) -> None:
        self.pairs, self.match = pairs, match
        self.lines: list[dict[str, Any]] = []

    def _cell(
        self, table: str, name: str, cell: Cell, backward: bool, peer: SDPBackend | None
    ) -> Found | None:
        """Times and prints one cell; None where it is not asked for, or does not run."""
        if not re.search(self.match, name):
            return None
        torch.manual_seed(0)
        torch.cuda.empty_cache()
        given = draw(cell)
        direction = "backward" if backward else "forward"
        try:
            with contextlib.nullcontext() if peer is None else sdpa_kernel(peer):
                second = None if peer is None else sdpa(cell, given, backward)
                found = contest(ours(cell, given, backward), second, self.pairs)
        except (RuntimeError, ValueError, MemoryError) as error:
            print(f"| {name} | {direction} | does not run: {str(error).splitlines()[0][:90]} |")
            return None
        rate = cell.operations(backward) / found.ours / 1e9
        text = f"| {name} | {direction} | {found.ours:.3f} ms | {rate:.0f} TFLOP/s |"
        if found.peer is not None and found.limits:
            theirs = cell.operations(backward) / found.peer / 1e9
            low, high = found.limits
            text += f" {theirs:.0f} | {found.ratio:.3f} | {low:.3f} to {high:.3f} |"
        print(text, flush=True)
        place = {"table": table, "cell": name, "direction": direction, "tflops": rate}
        self.lines.append({**place, **dataclasses.asdict(found)})
        return found

    def _mean(self, name: str, found: list[Found | None]) -> None:
        ratios = [x.ratio for x in found if x and x.ratio]
        if ratios:
            worst = min(x.limits[1] for x in found if x and x.limits)
            print(
                f"{name}: geometric mean {statistics.geometric_mean(ratios):.3f} of {len(ratios)} "
                f"cells, worst {min(ratios):.3f}, lowest upper limit {worst:.3f}"
            )

    def _grid(self, backward: bool, dims: tuple[int, ...], dtype: str = "bfloat16") -> None:
        table = "backward" if backward else "forward"
        found = []
        for dim in dims:
            of_dim = []
            for causal in (False, True):
                for length in (512, 1024, 2048, 4096, 8192, 16384):
                    name = f"{dtype} d{dim} {length}{' causal' if causal else ''}"
                    cell = Cell(length, dim, causal, dtype)
                    of_dim.append(
                        self._cell(table, name, cell, backward, SDPBackend.FLASH_ATTENTION)
                    )
            self._mean(f"{table} d{dim}", of_dim)
            found += of_dim
        self._mean(table, found)

    def forward(self) -> None:
        """The grid against SDPA's FlashAttention-2."""
        self._grid(False, (64, 128, 256))

    def backward(self) -> None:
        """The same, of gradients."""
        self._grid(True, (64, 128, 256))

    def dims(self) -> None:
        """Head dims between those that have kernels of their own, and float16."""
        for backward in (False, True):
            for dim in (40, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256):
                peer = SDPBackend.FLASH_ATTENTION if dim % 8 == 0 else None
                self._cell("dims", f"d{dim} 4096 causal", Cell(4096, dim, True), backward, peer)
            cell = Cell(4096, 128, True, "float16")
            self._cell("dims", "float16 d128", cell, backward, SDPBackend.FLASH_ATTENTION)

    def features(self) -> None:
        """What each feature costs at 4096, d 128, causal."""
        length, heads = 4096, WIDTH // 128
        cuda: dict[str, Any] = {"device": "cuda"}
        bias = torch.randn(1, heads, length, length, dtype=torch.bfloat16, **cuda)
        many: dict[str, dict[str, Any]] = {
            "none": {},
            "softcap": {"softcap": 30.0},
            "ALiBi": {"alibi_slopes": torch.rand(heads, **cuda) / 8},
            "bias": {"bias": bias},
            "bias with gradient": {"bias": bias.clone().requires_grad_()},
            "random mask": {"mask": torch.rand(1, 1, length, length, **cuda) < 0.8},
            "padding mask": {"mask": (torch.arange(length, **cuda) < length)[None, None, None]},
            "dropout": {"dropout": 0.1, "seed": 7},
            "sinks": {"sinks": torch.randn(heads, **cuda)},
        }
        for backward in (False, True):
            plain = None
            for name, options in many.items():
                if name == "bias with gradient" and not backward:
                    continue
                cell = Cell(length, 128, True, options=options)
                found = self._cell("features", name, cell, backward, None)
                plain = plain or found
                if found and plain:
                    print(f"  {plain.ours / found.ours:.2f} of plain")
        for backward in (False, True):
            cell = Cell(length, 128, options={"bias": bias.clone().requires_grad_(backward)})
            peer = SDPBackend.EFFICIENT_ATTENTION
            self._cell("features", "bias beside efficient", cell, backward, peer)

    def deterministic(self) -> None:
        """Backward with the same bits every time, against the usual and against torch's."""
        for dim, causal in ((64, False), (128, False), (128, True), (256, False)):
            for length in (1024, 4096, 16384):
                name = f"d{dim} {length}{' causal' if causal else ''}"
                usual = self._cell("deterministic", name, Cell(length, dim, causal), True, None)
                torch.use_deterministic_algorithms(True)
                cell = Cell(length, dim, causal, options={"deterministic": True})
                way = SDPBackend.FLASH_ATTENTION
                found = self._cell("deterministic", name + " in order", cell, True, way)
                torch.use_deterministic_algorithms(False)
                if usual and found:
                    print(f"  {usual.ours / found.ours:.2f} of the usual")

    def short(self) -> None:
        """Short sequences that fill the chip, against SDPA's FlashAttention-2 and unfused."""
        for backward in (False, True):
            for way in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
                for dim in (64, 128):
                    for length in (16, 32, 64, 128, 256):
                        name = f"d{dim} {length} beside {way.name.lower()}"
                        self._cell("short", name, Cell(length, dim), backward, way)

    def window(self) -> None:
        """A window of 1024 at 16384, and a quarter of the blocks: time against all keys."""
        length = 16384
        share = (1024 * length - 1024 * 1023 / 2) / (length * length)
        for backward in (False, True):
            full = self._cell("window", "all keys", Cell(length, 128), backward, None)
            half = self._cell("window", "causal", Cell(length, 128, True), backward, None)
            options: dict[str, Any] = {"window": (1023, 0)}
            cell = Cell(length, 128, options=options, share=share)
            found = self._cell("window", "window of 1024", cell, backward, None)
            if found and half:
                print(f"  {half.ours / found.ours * share * 2:.2f} of causal's rate")
            blocks = torch.rand(1, 1, length // 128, length // 128, device="cuda") < 0.25
            options = {"block_mask": blocks, "block_size": (128, 128)}
            cell = Cell(length, 128, options=options, share=0.25)
            found = self._cell("window", "a quarter of the blocks", cell, backward, None)
            if found and full:
                print(f"  {found.ours / full.ours:.2f} of the time of all")

    def packed(self) -> None:
        """Sequences of log-normal lengths from 128 to 8192, against dense ones of as much work."""
        torch.manual_seed(1)
        lengths: list[int] = []
        while sum(lengths) < TOKENS * 2:
            drawn = int(torch.empty(1).log_normal_(6.8, 0.9).clamp(128, 8192).item())
            lengths.append(drawn)
        offsets = torch.tensor([0, *lengths], dtype=torch.int32, device="cuda").cumsum(0).int()
        tokens = sum(lengths)
        kind: dict[str, Any] = {"dtype": torch.bfloat16, "device": "cuda"}
        given = [torch.randn(tokens, 16, 128, **kind).requires_grad_() for _ in range(3)]
        longest = max(lengths)
        options: dict[str, Any] = {
            "query_offsets": offsets,
            "key_offsets": offsets,
            "max_query_length": longest,
            "max_key_length": longest,
        }
        work = sum(length * length for length in lengths) / tokens
        dense = 128 * round(work / 128)
        for backward in (False, True):
            run = directed(
                lambda: tilewise.attention(*given, causal=True, **options), given, backward
            )
            time = contest(run, None, self.pairs).ours
            pairs = 16 * sum(length * (length + 1) / 2 for length in lengths)
            rate = pairs * 128 * (10 if backward else 4) / time / 1e9
            print(f"| {len(lengths)} packed sequences | {time:.3f} ms | {rate:.0f} TFLOP/s |")
            cell = Cell(dense, 128, True, tokens=tokens)
            found = self._cell("packed", f"dense {dense}", cell, backward, None)
            if found:
                print(f"  {rate / (cell.operations(backward) / found.ours / 1e9):.2f} of dense")

    def decode(self) -> None:
        """64 sequences with 4096 keys, 32 query heads on 8: share of the rate of a copy."""
        cell = Cell(1, 128, tokens=64, heads=32, key_heads=8, keys=4096)
        source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
        copy = contest(source.clone, None, self.pairs).ours
        moved = 64 * 4096 * 8 * 128 * 2 * 2
        found = self._cell("decode", "64 x 4096, 32/8 heads", cell, False, None)
        if found:
            rate, ceiling = moved / found.ours / 1e6, 2 * 2**30 / copy / 1e6
            print(f"  {rate:.0f} GB/s of {ceiling:.0f}: {rate / ceiling:.2f} of the copy's rate")


def main() -> None:
    """Prints the tables."""
    names = [name for name in vars(Tables) if not name.startswith("_")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", action="append", choices=names)
    parser.add_argument("--match", default="", help="only cells whose names this regex finds")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    device = torch.cuda.get_device_name()
    print(f"{device}, driver {driver}, torch {torch.__version__}, tilewise {tilewise.__version__}")
    tables = Tables(asked.pairs, asked.match)
    for name in asked.table or names:
        print(f"\n{name}: {getattr(Tables, name).__doc__}")
        getattr(tables, name)()
    if asked.json:
        with asked.json.open("w") as file:
            head = {"gpu": device, "driver": driver, "torch": torch.__version__}
            json.dump({**head, "lines": tables.lines}, file, indent=1)


if __name__ == "__main__":
    main()
