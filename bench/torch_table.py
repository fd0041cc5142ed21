#!/usr/bin/env python3
"""Prints the table of docs/pytorch.md: tilewise on torch's tensors beside SDPA and the formula.

    bench/torch_table.py [--lengths 512,1024,2048,4096] [--heads 8] [--dim 64] [--dtype float32]
                         [--device cpu] [--rounds 5]

A row is causal attention of one batch, forward and backward. The three take turns in one process,
and a time is the fastest of its rounds, which another program's load disturbs least. Memory is
measured in a process of its own for each: by how much it grows beyond tensors and code (which Linux
says), or on a GPU by the most that torch's allocator gave out.
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
from torch.nn import functional


def by_tilewise(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return tilewise.attention(query, key, value, causal=True)


def by_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    output = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return output.transpose(1, 2)


def by_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    hidden = torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).triu(1)
    return (score.masked_fill(hidden, -float("inf")).softmax(-1) @ value).transpose(1, 2)


ATTENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "tilewise": by_tilewise,
    "SDPA": by_sdpa,
    "eager": by_formula,
}


def tensors(length: int, options: argparse.Namespace) -> list[Tensor]:
    torch.manual_seed(0)
    shape = (1, length, options.heads, options.dim)
    place: dict[str, Any] = {"dtype": getattr(torch, options.dtype), "device": options.device}
    return [torch.randn(shape, **place).requires_grad_() for _ in range(3)]


def wait(options: argparse.Namespace) -> None:
    if options.device != "cpu":
        torch.cuda.synchronize()


def once(name: str, given: list[Tensor], options: argparse.Namespace) -> tuple[float, float]:
    """Seconds of forward alone, as in inference, and of forward and backward."""
    begin = time.perf_counter()
    with torch.no_grad():
        ATTENTIONS[name](*given)
    wait(options)
    between = time.perf_counter()
    output = ATTENTIONS[name](*given)
    torch.autograd.grad(output, given, torch.ones_like(output))
    wait(options)
    return between - begin, time.perf_counter() - between


def times(length: int, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    given = tensors(length, options)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ATTENTIONS}
    for _ in range(options.rounds + 1):
        for name, kept in found.items():
            kept.append(once(name, given, options))
    return {
        name: (min(each[0] for each in kept[1:]), min(each[1] for each in kept[1:]))
        for name, kept in found.items()
    }


def peak(options: argparse.Namespace, begin: bool = False) -> int:
    """The most bytes that this process has had since it was last asked with begin=True."""
    if options.device != "cpu":
        if begin:
            torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.max_memory_allocated())
    if begin:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def grown(name: str, length: int, options: argparse.Namespace) -> int:
    """Bytes that training needs beyond its inputs; in this process, which did nothing before."""
    once(name, tensors(64, options), options)
    given = tensors(length, options)
    before = peak(options, begin=True)
    once(name, given, options)
    return peak(options) - before


def memory(name: str, length: int, arguments: list[str]) -> int:
    """The same, in a new process."""
    command = [sys.executable, __file__, *arguments, "--memory", name, "--lengths", str(length)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", default="512,1024,2048,4096")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", choices=list(ATTENTIONS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    lengths = [int(length) for length in options.lengths.split(",")]
    if options.memory:
        print(grown(options.memory, lengths[0], options))
        return
    print(
        f"{options.heads} heads of {options.dim}, {options.dtype}, causal, on {options.device}, "
        f"{torch.get_num_threads()} threads; torch {torch.__version__}, tilewise "
        f"{tilewise.__version__}\n"
    )
    print("| length | | forward | forward and backward | memory |")
    print("|---|---|---|---|---|")
    for length in lengths:
        for name, (forward, both) in times(length, options).items():
            size = memory(name, length, arguments) / 2**20
            shown = f"{length:,}" if name == "tilewise" else ""
            print(
                f"| {shown} | {name} | {1e3 * forward:.1f} ms | {1e3 * both:.1f} ms "
                f"| {size:,.0f} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
