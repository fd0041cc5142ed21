#!/usr/bin/env python3
"""What a call costs whoever makes it: the host's time until it returns, tilewise's beside torch's.

    bench/torch_calls.py [--device cpu] [--dtype float32] [--rounds 100] [--calls 50]

On a GPU a call returns when its kernels are in the queue; so does a backward. Each turn begins with
an idle GPU and makes so few calls that the queue never fills; waiting for the GPU afterwards is not
timed. On the processor a call returns when it is done, so there a time is that of the whole
computation, on one thread. torch's SDPA, tilewise.attention and tilewise.sdpa take turns in one
process. A time is the median of the rounds, with the fastest beside it; the ratios are of the
medians. SDPA and tilewise.sdpa get heads before length, tilewise.attention length before heads.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from typing import Any, Callable

import tilewise
import torch
from torch import Tensor
from torch.nn import functional

# (batch, heads, queries, dim), and keys.
SHAPES = [((1, 8, 1, 64), 1), ((1, 8, 1, 64), 64), ((1, 8, 64, 64), 64), ((8, 16, 512, 64), 512)]
LARGEST_HERE = 1 << 18  # most numbers of query on the processor, lest arithmetic hide a call's cost
KINDS = ("no gradients", "forward, with gradients", "forward and backward")
Call = Callable[[], object]


def calls_of(attention: Callable[..., Tensor], given: list[Tensor]) -> dict[str, Call]:
    """The kinds of calls of one function on tensors that require gradients."""
    arriving = torch.ones_like(given[0])

    def without() -> None:
        with torch.no_grad():
            attention(*given)

    def forward() -> None:
        attention(*given)

    def both() -> None:
        torch.autograd.grad(attention(*given), given, arriving)

    return dict(zip(KINDS, (without, forward, both)))


def turn(call: Call, count: int, is_here: bool) -> float:
    """Microseconds of a call, the mean of `count` from an idle device until the last returns."""
    if not is_here:
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return 1e6 * (time.perf_counter() - begin) / count


def compare(shape: tuple[int, ...], keys: int, options: argparse.Namespace) -> None:
    """Prints the rows of one shape."""
    batch, heads, queries, dim = shape
    place: dict[str, Any] = {"dtype": getattr(torch, options.dtype), "device": options.device}
    lengths = (queries, keys, keys)
    theirs = [torch.randn(batch, heads, n, dim, **place).requires_grad_() for n in lengths]
    ours = [torch.randn(batch, n, heads, dim, **place).requires_grad_() for n in lengths]
    ways = {
        "SDPA": calls_of(functional.scaled_dot_product_attention, theirs),
        "tilewise.attention": calls_of(tilewise.attention, ours),
        "tilewise.sdpa": calls_of(tilewise.sdpa, theirs),
    }
    is_here = options.device == "cpu"
    times: dict[tuple[str, str], list[float]] = {(w, k): [] for w in ways for k in KINDS}
    for n in range(options.rounds + 2):
        for way, kind in times:
            taken = turn(ways[way][kind], options.calls, is_here)
            if n >= 2:  # kernels are compiled and memory is there
                times[way, kind].append(taken)
    for kind in KINDS:
        middle = {way: statistics.median(times[way, kind]) for way in ways}
        cells = [f"{middle[way]:.1f} us ({min(times[way, kind]):.1f})" for way in ways]
        for way in ("tilewise.attention", "tilewise.sdpa"):
            cells.append(f"{middle[way] / middle['SDPA']:.2f}")
        name = f"{shape} on {keys} keys" if kind == KINDS[0] else ""
        print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="float32 on the processor, else bfloat16")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=50)
    options = parser.parse_args()
    is_here = options.device == "cpu"
    options.dtype = options.dtype or ("float32" if is_here else "bfloat16")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(
        f"Calls on {'cpu' if is_here else torch.cuda.get_device_name()}, {options.dtype}, one "
        f"thread; torch {torch.__version__}, tilewise {tilewise.__version__}\n"
    )
    print("| query | | SDPA | tilewise.attention | tilewise.sdpa | of SDPA's | |")
    print("|---|---|---|---|---|---|---|")
    gc.disable()
    for shape, keys in SHAPES:
        if not is_here or torch.Size(shape).numel() <= LARGEST_HERE:
            compare(shape, keys, options)


if __name__ == "__main__":
    main()
