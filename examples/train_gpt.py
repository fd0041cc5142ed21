#!/usr/bin/env python3
"""Trains a small GPT on the characters of this repository's own pages.

    examples/train_gpt.py                      400 steps, then some text of its own
    examples/train_gpt.py --attention sdpa     the same by torch's function, or by `eager` formulas
    examples/train_gpt.py --bench              times a training step of all three, taking turns

--bench takes 4 layers, 256 wide, 8 sequences of 512 tokens. --device cuda runs on a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from attentions import ATTENTIONS
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent


class Size(NamedTuple):
    """What there is to choose about a GPT and its batches."""

    layers: int
    width: int
    heads: int
    batch: int
    length: int


SMALL = Size(layers=2, width=96, heads=4, batch=8, length=128)
BARS = Size(layers=4, width=256, heads=8, batch=8, length=512)
TINY = Size(layers=1, width=32, heads=2, batch=2, length=32)


class Block(nn.Module):
    """Attention and two layers of neurons, each added to what came in."""

    def __init__(self, size: Size, attention: str) -> None:
        super().__init__()
        self.heads, self.attention = size.heads, ATTENTIONS[attention]
        self.before_attention = nn.LayerNorm(size.width)
        self.project_in = nn.Linear(size.width, 3 * size.width)
        self.project_out = nn.Linear(size.width, size.width)
        self.neurons = nn.Sequential(
            nn.LayerNorm(size.width),
            nn.Linear(size.width, 4 * size.width),
            nn.GELU(),
            nn.Linear(4 * size.width, size.width),
        )

    def forward(self, x: Tensor) -> Tensor:
        projected = self.project_in(self.before_attention(x)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in projected)
        x = x + self.project_out(self.attention(query, key, value).flatten(-2))
        changed: Tensor = x + self.neurons(x)
        return changed


class Gpt(nn.Module):
    """Characters in, the odds of the next character out."""

    def __init__(self, size: Size, characters: int, attention: str) -> None:
        super().__init__()
        self.token = nn.Embedding(characters, size.width)
        self.place = nn.Embedding(size.length, size.width)
        self.blocks = nn.Sequential(*(Block(size, attention) for _ in range(size.layers)))
        self.out = nn.Sequential(nn.LayerNorm(size.width), nn.Linear(size.width, characters))

    def forward(self, tokens: Tensor) -> Tensor:
        place = torch.arange(tokens.shape[1], device=tokens.device)
        odds: Tensor = self.out(self.blocks(self.token(tokens) + self.place(place)))
        return odds


class Text:
    """The pages of this repository as numbers, one for each character."""

    def __init__(self, device: str) -> None:
        pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        text = "".join(page.read_text(encoding="utf-8") for page in pages)
        self.characters = sorted(set(text))
        number = {character: place for place, character in enumerate(self.characters)}
        self.tokens = torch.tensor([number[character] for character in text], device=device)

    def batch(self, size: Size) -> tuple[Tensor, Tensor]:
        """Windows of the text, and the same one character later."""
        starts = torch.randint(len(self.tokens) - size.length - 1, (size.batch, 1))
        places = (starts + torch.arange(size.length)).to(self.tokens.device)
        return self.tokens[places], self.tokens[places + 1]


class Trainer:
    """A model, its optimiser, and one step of training."""

    def __init__(self, size: Size, text: Text, attention: str, device: str) -> None:
        torch.manual_seed(0)
        self.model = Gpt(size, len(text.characters), attention).to(device)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=2e-3)

    def step(self, tokens: Tensor, wanted: Tensor) -> float:
        """Learns from one batch; the loss before, in nats for each character."""
        odds = self.model(tokens)
        loss = functional.cross_entropy(odds.flatten(0, 1), wanted.flatten())
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        return float(loss.detach())  # on a GPU this also waits for the step to end


def train(options: argparse.Namespace, size: Size) -> list[float]:
    """Losses of all steps; prints a curve, the time of a step and a sample."""
    text = Text(options.device)
    trainer = Trainer(size, text, options.attention, options.device)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    print(
        f"{options.attention} on {options.device}: {parameters:,} parameters, "
        f"{len(text.tokens):,} characters of text, {options.steps} steps"
    )
    losses, times = [], []
    for _ in range(options.steps):
        batch = text.batch(size)
        begin = time.perf_counter()
        losses.append(trainer.step(*batch))
        times.append(time.perf_counter() - begin)
    print(curve(losses))
    print(f"loss {losses[0]:.2f} -> {statistics.fmean(losses[-10:]):.2f} nats a character")
    print(f"one step {1e3 * statistics.median(times):.1f} ms")
    print(sample(trainer.model, text, size))
    draw(losses, options.plot)
    return losses


def curve(losses: list[float], columns: int = 60, rows: int = 10) -> str:
    """The losses as a picture of characters, each column the mean of its steps."""
    columns = min(columns, len(losses))
    edges = [len(losses) * each // columns for each in range(columns + 1)]
    means = [statistics.fmean(losses[a:b]) for a, b in zip(edges, edges[1:])]
    low, high = min(means), max(means)
    step = (high - low) / (rows - 1) or 1.0
    lines = []
    for row in range(rows):
        level = high - row * step
        dots = "".join("*" if abs(mean - level) <= step / 2 else " " for mean in means)
        lines.append(f"{level:5.2f} |{dots}".rstrip())
    return "\n".join(lines)


def sample(model: nn.Module, text: Text, size: Size, length: int = 160) -> str:
    """What the model writes by itself, after one character of the text."""
    tokens = text.tokens[None, :1]
    with torch.no_grad():
        for _ in range(length):
            odds = model(tokens[:, -size.length :])[:, -1]
            tokens = torch.cat([tokens, torch.multinomial(odds.softmax(-1), 1)], 1)
    return "".join(text.characters[token] for token in tokens[0].tolist())


def draw(losses: list[float], path: Path | None) -> None:
    """The curve as a picture, where one was asked for and matplotlib is there."""
    if path is None:
        return
    try:
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        print("matplotlib is not installed: there is no picture.")
        return
    pyplot.plot(losses)
    pyplot.xlabel("step")
    pyplot.ylabel("loss, nats a character")
    pyplot.savefig(path)


def bench(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Seconds of a training step by each attention; they take turns on the same batches."""
    text = Text(options.device)
    trainers = {name: Trainer(size, text, name, options.device) for name in ATTENTIONS}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(options.steps + 2):
        batch = text.batch(size)
        losses = {}
        for name, trainer in trainers.items():
            begin = time.perf_counter()
            losses[name] = trainer.step(*batch)
            if turn >= 2:  # the first steps are slower for everybody
                times[name].append(time.perf_counter() - begin)
        spread = max(losses.values()) - min(losses.values())
        assert spread < 0.05, f"the losses of one batch differ: {losses}"
    print(f"{size} on {options.device}, {torch.get_num_threads()} threads, {options.steps} steps")
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, median in medians.items():
        pairs = zip(times["tilewise"], times[name])
        ratio = statistics.median(ours / theirs for ours, theirs in pairs)
        print(f"{name:9} {1e3 * median:8.1f} ms a step; tilewise takes {ratio:.2f} of it")
    return medians


def main(arguments: list[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attention", choices=list(ATTENTIONS), default="tilewise")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, help="400 to train, 10 of each to compare")
    parser.add_argument("--bench", action="store_true", help="compare times instead of training")
    parser.add_argument("--tiny", action="store_true", help="a model of a second, to see it run")
    parser.add_argument("--plot", type=Path, help="a picture of the losses, by matplotlib")
    options = parser.parse_args(arguments)
    if options.steps is None:
        options.steps = 10 if options.bench else 400
    if options.bench:
        return bench(options, TINY if options.tiny else BARS)
    return train(options, TINY if options.tiny else SMALL)


if __name__ == "__main__":
    main()
