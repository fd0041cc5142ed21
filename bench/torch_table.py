#!/usr/bin/env python3
"""Prints the table of docs/pytorch.md: tilewise on torch's tensors beside SDPA and the formula.

    bench/torch_table.py [--device cpu] [--lengths 512,1024,2048,4096] [--heads 8] [--dim 64]
                         [--dtype float32] [--rounds 5] [--milliseconds 20]

Unless --dtype says otherwise, numbers are of float32 on the processor, and of bfloat16 on a GPU.

A row is causal attention of one batch, forward and backward. The three take turns in one process.
In its turn each makes as many calls in a row as fill --milliseconds, a number found beforehand in
calls that also warm up. A time is the fastest of the rounds, which another program's load disturbs
least. On a GPU two events around a turn measure it, so that the host need not wait between calls;
if the host cannot keep the GPU busy, the time is the host's. Memory is what a training step needs
beyond its inputs: on a GPU the most that torch's allocator gave out meanwhile, on the processor the
peak that Linux reports for a fresh process.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import tilewise
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples"))

from attentions import ATTENTIONS

Times = dict[str, float]  # milliseconds of a call by "forward" and by "both"
KINDS = ("forward", "both")


def tensors(length: int, options: argparse.Namespace) -> list[Tensor]:
    torch.manual_seed(0)
    shape = (1, length, options.heads, options.dim)
    place: dict[str, Any] = {"dtype": getattr(torch, options.dtype), "device": options.device}
    return [torch.randn(shape, **place).requires_grad_() for _ in range(3)]


def calls_of(name: str, given: list[Tensor]) -> dict[str, Callable[[], object]]:
    """Forward without gradients, and forward with backward."""
    attention, arriving = ATTENTIONS[name], torch.ones_like(given[0])

    def forward() -> None:
        with torch.no_grad():
            attention(*given)

    def both() -> None:
        torch.autograd.grad(attention(*given), given, arriving)

    return {"forward": forward, "both": both}


def elapsed(call: Callable[[], object], count: int, is_here: bool) -> float:
    """Milliseconds of `count` calls, from an idle device until all are done."""
    if is_here:
        begin = time.perf_counter()
        for _ in range(count):
            call()
        return 1e3 * (time.perf_counter() - begin)
    event: Any = torch.cuda.Event
    first, last = event(enable_timing=True), event(enable_timing=True)
    torch.cuda.synchronize()
    first.record()
    for _ in range(count):
        call()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def times(length: int, options: argparse.Namespace) -> dict[str, Times]:
    given, is_here = tensors(length, options), options.device == "cpu"
    calls = {name: calls_of(name, given) for name in ATTENTIONS}
    turns = [(name, kind) for name in calls for kind in KINDS]
    counts = {}
    for name, kind in turns:
        elapsed(calls[name][kind], 2, is_here)  # compiles, allocates and chooses
        once = elapsed(calls[name][kind], 2, is_here) / 2
        counts[name, kind] = max(1, math.ceil(options.milliseconds / max(once, 1e-3)))
    found: dict[str, Times] = {name: {} for name in calls}
    for _ in range(options.rounds):
        for name, kind in turns:
            count = counts[name, kind]
            each = elapsed(calls[name][kind], count, is_here) / count
            found[name][kind] = min(each, found[name].get(kind, math.inf))
    return found


def peak(options: argparse.Namespace, begin: bool = False) -> int:
    """The most bytes that this process has used since the last call with begin=True."""
    if options.device != "cpu":
        if begin:
            torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.max_memory_allocated())
    if begin:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def grown(name: str, length: int, options: argparse.Namespace) -> int:
    """Bytes that a training step needs beyond its inputs, in this process."""
    calls_of(name, tensors(64, options))["both"]()
    given = tensors(length, options)
    before = peak(options, begin=True)
    calls_of(name, given)["both"]()
    return peak(options) - before


def memory(name: str, length: int, arguments: list[str], options: argparse.Namespace) -> int:
    """What grown() returns: on the processor in a fresh process; on a GPU in this one, because
    torch's allocator can reset its peak there, and that is quicker than to start a process."""
    if options.device != "cpu":
        return grown(name, length, options)
    command = [sys.executable, __file__, *arguments, "--memory", name, "--lengths", str(length)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", default="512,1024,2048,4096")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dtype")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--milliseconds", type=float, default=20.0)
    parser.add_argument("--memory", choices=list(ATTENTIONS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    lengths = [int(length) for length in options.lengths.split(",")]
    is_here = options.device == "cpu"
    options.dtype = options.dtype or ("float32" if is_here else "bfloat16")
    if not is_here:
        torch.cuda.set_device(torch.device(options.device).index or 0)
    if options.memory:
        print(grown(options.memory, lengths[0], options))
        return
    print(
        f"{options.heads} heads of {options.dim}, {options.dtype}, causal, on "
        f"{'cpu' if is_here else torch.cuda.get_device_name()}, "
        f"{torch.get_num_threads()} threads; torch {torch.__version__}, tilewise "
        f"{tilewise.__version__}\n"
    )
    print("| length | | forward | forward and backward | memory |")
    print("|---|---|---|---|---|")
    digits = 1 if is_here else 3
    for length in lengths:
        for name, found in times(length, options).items():
            size = memory(name, length, arguments, options) / 2**20
            shown = f"{length:,}" if name == "tilewise" else ""
            print(
                f"| {shown} | {'SDPA' if name == 'sdpa' else name} "
                f"| {found['forward']:.{digits}f} ms | {found['both']:.{digits}f} ms "
                f"| {size:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
