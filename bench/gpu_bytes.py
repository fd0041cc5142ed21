#!/usr/bin/env python3
"""Prints the bytes that a call moves on a GPU, as ncu counts them, beside those expected.

    bench/gpu_bytes.py [--length 4096] [--dim 128] [--dtype bfloat16] [--json FILE]

ncu, NVIDIA's profiler, runs this program once for each direction and mask. It counts, in all
kernels of one call, the bytes to and from memory, and the bytes that the L2 cache served. Memory's
bytes are printed beside the least that any kernel must move, each operand once; the L2 cache's
beside the bytes that the call's tiles load, by tilewise.explain. ncu empties the caches before each
kernel. If ncu is missing or may not read the counters, the program says so.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIDTH, TOKENS = 2048, 16384
READ, WRITTEN, CACHE = "dram__bytes_read.sum", "dram__bytes_write.sum", "lts__t_bytes.sum"
FROM_CACHE = "lts__t_sectors_srcunit_tex.sum"
METRICS = (READ, WRITTEN, CACHE, FROM_CACHE)
SECTOR = 32  # bytes
UNITS = {"byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9, "sector": float(SECTOR)}
SECONDS = 180


class NoCountersError(Exception):
    """ncu is missing or does not count; the message says why."""


@dataclass
class Counted:
    """Bytes of one call, by metric, and the kernels that made them."""

    bytes: dict[str, float] = field(default_factory=dict)
    kernels: list[str] = field(default_factory=list)


def counted_of(lines: Iterable[str]) -> Counted:
    """Sums the counters that ncu printed with --csv; lines before the CSV's header are skipped."""
    text = [line for line in lines if line.startswith('"')]
    found = Counted()
    for row in csv.DictReader(io.StringIO("".join(f"{line.rstrip()}\n" for line in text))):
        name = row.get("Metric Name", "")
        if name not in METRICS:
            continue
        value = float(row["Metric Value"].replace(",", ""))
        found.bytes[name] = found.bytes.get(name, 0) + value * UNITS.get(row["Metric Unit"], 1.0)
        kernel = row["Kernel Name"].split("(")[0]
        if name == READ:
            found.kernels.append(kernel)
    if not found.kernels:
        raise NoCountersError("ncu counted no kernel")
    return found


def profile(words: list[str]) -> Counted:
    """Runs this program under ncu, which counts between the profiler's start and stop."""
    if shutil.which("ncu") is None:
        raise NoCountersError("there is no ncu here")
    command = ["ncu", "--csv", "--profile-from-start", "off", "--print-units", "base"]
    command += ["--clock-control", "none", "--metrics", ",".join(METRICS)]
    ran = subprocess.run(
        [*command, sys.executable, __file__, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    said = f"{ran.stdout}\n{ran.stderr}"
    if "ERR_NVGPUCTRPERM" in said:
        raise NoCountersError("this user may not read the GPU's counters")
    if ran.returncode != 0:
        raise NoCountersError(f"ncu ended with {ran.returncode}: {said.strip()[-300:]}")
    return counted_of(ran.stdout.splitlines())


def call_once(asked: argparse.Namespace) -> None:
    """The call that ncu measures, after one call that has made everything ready."""
    import tilewise
    import tilewise.torch
    import torch

    heads, batch = WIDTH // asked.dim, TOKENS // asked.length
    shape = (batch, asked.length, heads, asked.dim)
    kind: dict[str, Any] = {"dtype": getattr(torch, asked.dtype), "device": "cuda"}
    query, key, value, arriving = (torch.randn(shape, **kind) for _ in range(4))
    with torch.no_grad():
        output, lse = tilewise.attention(query, key, value, causal=asked.causal, return_lse=True)

        def call() -> None:
            if asked.once == "forward":
                tilewise.attention(query, key, value, causal=asked.causal)
                return
            given = (arriving, query, key, value, output, lse)
            tilewise.attention_backward(*given, causal=asked.causal)

        call()
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        call()
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()


def least_bytes(rows: int, dim: int, heads: int, direction: str) -> float:
    """Bytes if each operand moves once: rows of 16 bits, and in backward the lse."""
    tensors = {"forward": 4, "backward": 8}[direction]
    return rows * heads * (tensors * dim * 2 + (4 if direction == "backward" else 0))


def model_of(asked: argparse.Namespace, direction: str, causal: bool) -> dict[str, Any]:
    """tilewise.explain's figures of the call."""
    tilewise: Any = importlib.import_module("tilewise")
    shape = (TOKENS // asked.length, asked.length, WIDTH // asked.dim, asked.dim)
    options: dict[str, Any] = {"dtype": asked.dtype, "causal": causal, "device": "cuda"}
    plan: dict[str, Any] = tilewise.explain(
        shape, shape, shape, operation=direction, json=True, **options
    )
    return plan


def row_of(asked: argparse.Namespace, direction: str, causal: bool) -> dict[str, Any]:
    """A row of the table: one direction with one mask."""
    words = ["--once", direction, "--length", str(asked.length), "--dim", str(asked.dim)]
    words += ["--dtype", asked.dtype, *(["--causal"] if causal else [])]
    counted, model = profile(words), model_of(asked, direction, causal)
    moved = counted.bytes
    least = least_bytes(TOKENS, asked.dim, WIDTH // asked.dim, direction)
    served = moved.get(FROM_CACHE, moved.get(CACHE, 0.0))
    return {
        "direction": direction,
        "causal": causal,
        "bytes": moved,
        "least": least,
        "tiled": model["tiled_bytes"],
        "tile": model["tile"],
        "memory_share": (moved[READ] + moved[WRITTEN]) / least,
        "tiled_share": served / model["tiled_bytes"],
        "kernels": counted.kernels,
    }


def line_of(row: dict[str, Any]) -> str:
    """A row of the table, in megabytes."""
    moved, mega = row["bytes"], 1e6
    served = moved.get(FROM_CACHE, moved.get(CACHE, 0.0))
    return (
        f"| {row['direction']}{' causal' if row['causal'] else ''} | {moved[READ] / mega:,.0f} "
        f"| {moved[WRITTEN] / mega:,.0f} | {row['least'] / mega:,.0f} | {row['memory_share']:.2f} "
        f"| {served / mega:,.0f} | {row['tiled'] / mega:,.0f} | {row['tiled_share']:.2f} "
        f"| {len(row['kernels'])} |"
    )


def main() -> None:
    """Prints the table, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--once", choices=["forward", "backward"], help=argparse.SUPPRESS)
    parser.add_argument("--causal", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.once:
        call_once(asked)
        return
    print(f"{asked.dtype}, {TOKENS} tokens of {asked.length}, head dim {asked.dim}, in MB\n")
    print(
        "| | read | written | least | times least | second cache | tiles | times tiles | kernels |"
    )
    print("|---" * 9 + "|")
    rows = []
    for direction in ("forward", "backward"):
        for causal in (False, True):
            try:
                rows.append(row_of(asked, direction, causal))
            except (NoCountersError, subprocess.TimeoutExpired) as reason:
                print(f"{direction}{' causal' if causal else ''}: {reason}", flush=True)
                continue
            print(line_of(rows[-1]), flush=True)
    for row in rows:
        print(
            f"\n{row['direction']}: {', '.join(dict.fromkeys(row['kernels']))}, tile {row['tile']}"
        )
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
