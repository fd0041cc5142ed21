#!/usr/bin/env python3
"""Times a training step of GPT-2-medium on a GPU, by tilewise and by each backend of torch's SDPA.

    bench/gpu_training.py [--rounds 5] [--steps 4]

24 layers, 1024 wide, 16 heads, a vocabulary of 50,257, bfloat16 by autocast, AdamW; a step has 8
sequences of 1024 tokens or 2 of 4096. All models are in the GPU's memory at once and take turns; a
time is the median of the rounds. Memory is the peak of torch's allocator in a step, less what was
allocated before the step: the activations, their gradients and what attention needs.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
from train_gpt import Gpt, Size

TOKENS = 50257
SIZES = [Size(24, 1024, 16, batch=8, length=1024), Size(24, 1024, 16, batch=2, length=4096)]
WAYS = {
    "tilewise": None,
    "SDPA flash": SDPBackend.FLASH_ATTENTION,
    "SDPA cuDNN": SDPBackend.CUDNN_ATTENTION,
    "SDPA efficient": SDPBackend.EFFICIENT_ATTENTION,
    "SDPA math": SDPBackend.MATH,
}


class Contestant:
    """A model, its optimiser, and the way in which it computes attention."""

    def __init__(self, name: str, size: Size) -> None:
        torch.manual_seed(0)
        self.way = WAYS[name]
        attention = "tilewise" if self.way is None else "sdpa"
        self.model = Gpt(size, TOKENS, attention).to("cuda")
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)

    def step(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Takes one training step and returns the loss before it."""
        held = contextlib.nullcontext() if self.way is None else sdpa_kernel(self.way)
        with held, torch.autocast("cuda", torch.bfloat16):
            odds = self.model(tokens)
            loss = functional.cross_entropy(odds.flatten(0, 1).float(), wanted.flatten())
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        return loss.detach()

    def seconds(self, steps: int, batch: tuple[Tensor, Tensor]) -> float:
        """Seconds of one step, the mean of `steps` in a row."""
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(steps):
            self.step(*batch)
        torch.cuda.synchronize()
        return (time.perf_counter() - begin) / steps


def compare(size: Size, rounds: int, steps: int) -> None:
    """Prints the rows of one size."""
    torch.manual_seed(1)
    tokens = torch.randint(TOKENS, (size.batch, size.length + 1), device="cuda")
    batch = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    contestants, memory, losses = {}, {}, {}
    for name in WAYS:
        one = Contestant(name, size)
        try:
            for _ in range(2):
                losses[name] = float(one.step(*batch))
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            one.step(*batch)
        except RuntimeError as error:
            print(f"| {size.batch} x {size.length} | {name} | does not run: {str(error)[:80]} |")
            continue
        memory[name] = torch.cuda.max_memory_allocated() - before
        contestants[name] = one
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, one in contestants.items():
            times[name].append(one.seconds(steps, batch))
    ours = statistics.median(times["tilewise"])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(
            f"| {size.batch} x {size.length} | {name} | {1e3 * median:.1f} ms | "
            f"{memory[name] / 2**20:,.0f} MiB | tilewise takes {ours / median:.3f} of the time, "
            f"{memory['tilewise'] / memory[name]:.3f} of the memory | loss {losses[name]:.4f} |",
            flush=True,
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    asked = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for size in SIZES:
        compare(size, asked.rounds, asked.steps)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
