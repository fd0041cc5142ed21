#!/usr/bin/env python3
"""Prints the tables of the GPU's pages: tilewise beside its peers on one GPU, cell by cell.

    bench/gpu_tables.py [--table NAME ...] [--match REGEX] [--pairs 9] [--seconds S] [--json FILE]

In a cell tilewise and one peer take turns: a pair is a batch of runs of tilewise and a batch of the
peer, each between two CUDA events. A cell shows both medians, and the mean of the pairs' ratios
(above 1 tilewise is faster) with its 95 % confidence limits. Rates count visible pairs of query and
key: 4 operations a pair and dimension forward, 10 backward. Inputs are drawn from a normal
distribution.
Backward is timed alone, by autograd from a graph that is kept. Before a peer is timed forward, its
output is compared with ours, except with dropout: a peer that computes something else is not timed.

FlexAttention and FlashAttention-4 compile for some seconds before a cell. With --seconds S a table
begins no cell after S seconds, and prints how many cells it has left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any, Callable

import tilewise
import torch
from gpu_cells import (
    TOKENS,
    WIDTH,
    Cell,
    Found,
    attention,
    contest,
    directed,
    draw,
    features,
    log_normal,
    ours,
)
from gpu_flex import Flex
from gpu_peers import DeclinedError, FlashAttention4, Peer, Unfused, attempt, sdpa_ways
from torch import Tensor

FLASH, CUDNN, EFFICIENT, MATH = sdpa_ways()
FAR = 0.02  # of the root mean square: several times what bfloat16 makes of one output


def far(cell: Cell, given: list[Tensor], theirs: Tensor) -> float:
    """How far a peer's output lies from ours, over the root mean square of ours."""
    with torch.no_grad():
        own = attention(cell, given).float()
        return float(((theirs.float() - own).norm() / own.norm()).item())


class Tables:
    """The tables: each method whose name has no leading underscore prints one."""

    def __init__(self, pairs: int, match: str, seconds: float = 0, device: str = "cuda") -> None:
        self.pairs, self.match, self.device = pairs, match, device
        self.seconds, self.end, self.left_out = seconds, float("inf"), 0
        self.lines: list[dict[str, Any]] = []

    def _run(self, name: str) -> None:
        """Prints one table within its seconds."""
        print(f"\n{name}: {getattr(Tables, name).__doc__}")
        self.end = time.monotonic() + self.seconds if self.seconds else float("inf")
        self.left_out = 0
        getattr(self, name)()
        if self.left_out:
            print(f"{self.left_out} cells left out: the {self.seconds:.0f} s of the table are over")

    def _contest(self, cell: Cell, given: list[Tensor], backward: bool, peer: Peer | None) -> Found:
        """Times both in turns; DeclinedError if the peer does not run the cell."""
        if peer is None:
            return contest(ours(cell, given, backward), None, self.pairs)

        def ready() -> Callable[[], Any]:
            prepared = peer.prepare(cell, given)
            if not backward and "dropout" not in cell.options:
                apart = far(cell, given, prepared.rows())
                if not apart < FAR:
                    raise DeclinedError(f"computes something else: {apart:.2g} apart")
            run = directed(prepared.forward, prepared.wanted, backward)
            run()
            return run

        with peer.held():
            theirs = attempt(ready)
            return contest(ours(cell, given, backward), theirs, self.pairs)

    def _cell(
        self, table: str, name: str, cell: Cell, backward: bool, peer: Peer | None
    ) -> Found | None:
        """Times and prints one cell; None if it is not asked for or does not run."""
        if not re.search(self.match, name):
            return None
        if time.monotonic() > self.end:
            self.left_out += 1
            return None
        torch.manual_seed(0)
        torch.cuda.empty_cache()
        given = draw(cell, self.device)
        direction = "backward" if backward else "forward"
        place: dict[str, Any] = {"table": table, "cell": name, "direction": direction}
        place["beside"] = peer.name if peer else None
        try:
            found = self._contest(cell, given, backward, peer)
        except DeclinedError as reason:
            print(f"| {name} | {direction} | {peer.name if peer else ''}: {reason} |", flush=True)
            self.lines.append({**place, "declines": str(reason)})
            return None
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
        self.lines.append({**place, "tflops": rate, **dataclasses.asdict(found)})
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
                    of_dim.append(self._cell(table, name, cell, backward, FLASH))
            self._mean(f"{table} d{dim}", of_dim)
            found += of_dim
        self._mean(table, found)

    def forward(self) -> None:
        """The grid against SDPA's FlashAttention-2."""
        self._grid(False, (64, 128, 256))

    def backward(self) -> None:
        """The grid's gradients against SDPA's FlashAttention-2."""
        self._grid(True, (64, 128, 256))

    def dims(self) -> None:
        """Head dims from 40 to 256, with and without kernels of their own, and float16."""
        for backward in (False, True):
            for dim in (40, 64, 72, 80, 96, 112, 128, 160, 192, 224, 256):
                peer = FLASH if dim % 8 == 0 else None
                self._cell("dims", f"d{dim} 4096 causal", Cell(4096, dim, True), backward, peer)
            cell = Cell(4096, 128, True, "float16")
            self._cell("dims", "float16 d128", cell, backward, FLASH)

    def features(self) -> None:
        """What each feature costs at 4096, d 128, causal."""
        length, heads = 4096, WIDTH // 128
        many = features(length, heads, self.device)
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
            cell = Cell(
                length, 128, options={"bias": many["bias"]["bias"].clone().requires_grad_(backward)}
            )
            self._cell("features", "bias beside efficient", cell, backward, EFFICIENT)

    def deterministic(self) -> None:
        """Backward with the same bits every time, against the default and against torch's."""
        # Torch would fill each new tensor with NaN, in the time measured.
        torch.utils.deterministic.fill_uninitialized_memory = False
        for dim, causal in ((64, False), (128, False), (128, True), (256, False)):
            for length in (1024, 4096, 16384):
                name = f"d{dim} {length}{' causal' if causal else ''}"
                usual = self._cell("deterministic", name, Cell(length, dim, causal), True, None)
                torch.use_deterministic_algorithms(True)
                cell = Cell(length, dim, causal, options={"deterministic": True})
                found = self._cell("deterministic", name + " in order", cell, True, FLASH)
                torch.use_deterministic_algorithms(False)
                if usual and found:
                    print(f"  {usual.ours / found.ours:.2f} of the usual")

    def short(self) -> None:
        """Short sequences that fill the chip, against SDPA's FlashAttention-2 and unfused."""
        for backward in (False, True):
            for peer in (FLASH, Unfused()):
                found = []
                for dim in (64, 128):
                    for length in (16, 32, 64, 128, 256):
                        name = f"d{dim} {length} beside {peer.name}"
                        cell = Cell(length, dim)
                        found.append(self._cell("short", name, cell, backward, peer))
                self._mean(f"beside {peer.name}", found)

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
            blocks = torch.rand(1, 1, length // 128, length // 128, device=self.device) < 0.25
            options = {"block_mask": blocks, "block_size": (128, 128)}
            cell = Cell(length, 128, options=options, share=0.25)
            found = self._cell("window", "a quarter of the blocks", cell, backward, None)
            if found and full:
                print(f"  {found.ours / full.ours:.2f} of the time of all")

    def packed(self) -> None:
        """Sequences of log-normal lengths from 128 to 8192, against dense ones of as much work."""
        lengths, options = log_normal(TOKENS * 2, self.device)
        tokens = sum(lengths)
        work = sum(length * length for length in lengths) / tokens
        dense = 128 * round(work / 128)
        for backward in (False, True):
            cell = self._packed(lengths, options)
            name = f"{len(lengths)} packed sequences"
            apart = self._cell("packed", name, cell, backward, None)
            whole = Cell(dense, 128, True, tokens=tokens)
            found = self._cell("packed", f"dense {dense}", whole, backward, None)
            if found and apart:
                rates = [
                    x.operations(backward) / y.ours for x, y in zip((cell, whole), (apart, found))
                ]
                print(f"  {rates[0] / rates[1]:.2f} of dense")

    @staticmethod
    def _packed(lengths: list[int], options: dict[str, Any]) -> Cell:
        """Packed causal sequences as one long sequence, of whose pairs they see a share."""
        tokens = sum(lengths)
        share = sum(length * (length + 1) for length in lengths) / (tokens * (tokens + 1))
        return Cell(tokens, 128, True, tokens=tokens, options=options, share=share)

    def _all_peers(self) -> list[Peer]:
        """The peers that are installed, slow ones last; prints why one is missing."""
        peers: list[Peer] = [FLASH, CUDNN]
        for kind in (FlashAttention4, Flex):
            try:
                peers.append(attempt(kind))
            except DeclinedError as reason:
                print(f"{kind.name} is not here: {reason}")
        return [*peers, EFFICIENT, Unfused(), MATH]

    def peers(self) -> None:
        """All that compute the same, at 4096 and 16384; what keeps the scores, at d 128 alone."""
        for peer in self._all_peers():
            keeps_scores = peer.name in ("unfused", MATH.name)
            for backward in (False, True):
                found = []
                for dim in (128,) if keeps_scores else (128, 64, 256):
                    for length in (4096, 16384):
                        for causal in (False, True):
                            words = f"d{dim} {length}{' causal' if causal else ''}"
                            cell, name = Cell(length, dim, causal), f"{words} beside {peer.name}"
                            found.append(self._cell("peers", name, cell, backward, peer))
                self._mean(f"beside {peer.name} {'backward' if backward else 'forward'}", found)

    def feature_peers(self) -> None:
        """Each feature against peers that have it: 4096, d 128, causal; SDPA's masks over all."""
        many = features(4096, WIDTH // 128, self.device)
        length = 16384
        blocks = torch.rand(1, 1, length // 128, length // 128, device=self.device) < 0.25
        quarter = {"block_mask": blocks, "block_size": (128, 128)}
        lengths, packed = log_normal(TOKENS * 2, self.device)
        share = (1024 * length - 1024 * 1023 / 2) / (length * length)
        window = {"window": (1023, 0)}
        cells = {name: Cell(4096, 128, True, options=options) for name, options in many.items()}
        for name in ("bias", "bias with gradient", "random mask"):
            cells[f"{name}, not causal"] = Cell(4096, 128, options=many[name])
        cells["window of 1024 at 16384"] = Cell(length, 128, options=window, share=share)
        cells["a quarter of the blocks"] = Cell(length, 128, options=quarter, share=0.25)
        cells["packed sequences"] = self._packed(lengths, packed)
        for peer in self._all_peers():
            for name, cell in cells.items():
                if set(cell.options) - peer.takes or not cell.options:
                    continue
                for backward in (False, True):
                    words = f"{name} beside {peer.name}"
                    self._cell("feature_peers", words, cell, backward, peer)

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
    parser.add_argument("--seconds", type=float, default=0, help="of a table; 0 is no limit")
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
    tables = Tables(asked.pairs, asked.match, asked.seconds)
    for name in asked.table or names:
        tables._run(name)
    if asked.json:
        with asked.json.open("w") as file:
            head = {"gpu": device, "driver": driver, "torch": torch.__version__}
            json.dump({**head, "lines": tables.lines}, file, indent=1)


if __name__ == "__main__":
    main()
