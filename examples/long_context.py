#!/usr/bin/env python3
"""Attention over one long sequence, with gradients, in memory that grows with its length alone.

    examples/long_context.py [--length 65536] [--heads 1] [--dim 64] [--dtype float32]

Prints time and peak memory, beside those of the formula written out (`eager`). The formula keeps
several matrices of length x length numbers for each head, so it runs at a smaller length, and its
time and memory at the whole length are extrapolated: both grow with the square of the length.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from attentions import Attention, by_formula, by_tilewise


class Cost(NamedTuple):
    """What one run took; `bytes` is by how much the process grew."""

    forward: float
    backward: float
    bytes: int


def largest_size(begin: bool = False) -> int:
    """The most bytes that this process has had; on Linux since it was asked with begin=True."""
    try:
        if begin:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def measure(attention: Attention, length: int, options: argparse.Namespace) -> Cost:
    shape = (1, length, options.heads, options.dim)
    dtype = getattr(torch, options.dtype)
    torch.manual_seed(0)
    query, key, value = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
    before = largest_size(begin=True)
    begin = time.perf_counter()
    output = attention(query, key, value)
    between = time.perf_counter()
    torch.autograd.backward(output.sum())
    end = time.perf_counter()
    return Cost(between - begin, end - between, largest_size() - before)


def show(name: str, length: int, cost: Cost, remark: str = "") -> None:
    print(
        f"{name:9} {length:7,} tokens   forward {cost.forward:7.2f} s   "
        f"backward {cost.backward:7.2f} s   memory {cost.bytes / 2**20:10,.0f} MiB{remark}"
    )


def main(arguments: list[str] | None = None) -> tuple[Cost, Cost]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=65536)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float64"))
    options = parser.parse_args(arguments)
    measure(by_tilewise, 128, options)  # the first call of all loads and starts things
    ours = measure(by_tilewise, options.length, options)
    show("tilewise", options.length, ours)
    short = min(options.length, 4096)
    theirs = measure(by_formula, short, options)
    show("eager", short, theirs)
    factor = (options.length / short) ** 2
    whole = Cost(factor * theirs.forward, factor * theirs.backward, int(factor * theirs.bytes))
    if factor > 1:
        show("eager", options.length, whole, "   (not run: counted from the line above)")
    matrix = options.heads * options.length**2 * getattr(torch, options.dtype).itemsize
    print(f"One matrix of scores of this length takes {matrix / 2**30:,.2f} GiB.")
    return ours, whole


if __name__ == "__main__":
    main()
