#!/usr/bin/env python3
"""Prints how far tilewise and torch's SDPA backends lie from attention in float64, by family.

    bench/gpu_errors.py [--device cuda] [--length 512] [--dtype bfloat16 ...] [--json FILE]

The families of inputs and the bound are those of docs/numerics.md. A cell holds the worst error of
an element of the output, and of the three gradients together. From an element's error the rounding
of the stored result is subtracted; the rest is divided by the bound, the most that all roundings
before it can add up to. The last table has the norm of the error over the norm of the exact result,
for the gauss family. Head dims are 64 and 128; a family without a mask of its own is tried with and
without a causal mask.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tilewise
import tilewise.torch
import torch
from gpu_cells import Cell
from gpu_families import FAMILIES, Drawn, draw
from gpu_peers import DeclinedError, Peer, Prepared, attempt, leaf, sdpa_ways
from torch import Tensor

NAMES = ("output", "query gradient", "key gradient", "value gradient")
HEADS, DIMS = 3, (64, 128)
UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
# The error that underflow of a weight or of a result can cause.
FLOORS = {"float16": 2.0**-25, "bfloat16": 2.0**-126, "float32": 2.0**-126}
TINY = 2.0**-126  # what a flushed product may lose
SLICE = 2**24  # numbers of (queries, keys, dim) at once


class Ours(Peer):
    """Tilewise as one of the peers."""

    name = "tilewise"
    takes = frozenset({"mask"})

    def made(self, cell: Cell, given: list[Tensor]) -> Prepared:
        own = [leaf(x) for x in given]
        call = tilewise.attention

        def forward() -> Tensor:
            return call(own[0], own[1], own[2], causal=cell.causal, **cell.options)

        return Prepared(forward, own, False)


@dataclass
class True64:
    """Output and gradients in float64, and the bounds of their errors before the last rounding."""

    results: list[Tensor]
    bounds: list[Tensor]


def spread_of(weights: Tensor, sizes: Tensor, value: Tensor, output: Tensor) -> Tensor:
    """The sum over keys of weight, size and |value - output|, in slices of rows."""
    rows, keys = weights.shape[-2:]
    step = max(1, SLICE // (keys * value.shape[-1] * weights.shape[0] * weights.shape[1]))
    parts = []
    for first in range(0, rows, step):
        some = slice(first, min(rows, first + step))
        apart = (value[..., None, :, :] - output[..., some, None, :]).abs()
        parts.append(((weights * sizes)[..., some, :, None] * apart).sum(-2))
    return torch.cat(parts, -2)


def truth(drawn: Drawn, dtype: str) -> True64:
    """A True64 by the formulas of docs/numerics.md; tensors are (batch, heads, rows, dim)."""
    query, key, value, arriving = (
        x.detach().double().transpose(1, 2) for x in (*drawn.given, drawn.arriving)
    )
    unit, floor, u32 = UNITS[dtype], FLOORS[dtype], 2.0**-24
    scale = query.shape[-1] ** -0.5
    eta, sigma = (4 + 2 * query.shape[-1] ** 0.5) * u32, 2.0**-22
    scores = scale * query @ key.transpose(-1, -2)
    scores = scores.masked_fill(~drawn.visible, float("-inf"))
    count = drawn.visible.sum(-1, keepdim=True).double()
    lse = torch.logsumexp(scores, -1, keepdim=True)
    top = scores.amax(-1, keepdim=True)
    weights, total = (scores - lse).exp(), (lse - top).exp()
    seen = drawn.visible.double()
    size = scale * query.abs() @ key.abs().transpose(-1, -2) * seen
    output = weights @ value
    rounding = unit + sigma * count.sqrt()
    bound = rounding * (weights @ value.abs()) + eta * spread_of(weights, size, value, output)
    bound = bound + floor * (seen @ value.abs()) / total + count * TINY

    arrived = arriving @ value.transpose(-1, -2)
    delta = (arriving * output).sum(-1, keepdim=True)
    gradient = weights * (arrived - delta)
    lse_bound = eta * (weights * size).sum(-1, keepdim=True) + sigma * (count.sqrt() + lse.abs())
    weight_off = (eta * size + lse_bound).expm1()
    large = arriving.abs() @ value.abs().transpose(-1, -2) * seen
    delta_off = (
        eta * (weights * size * (arrived - delta).abs()).sum(-1, keepdim=True)
        + rounding * (weights * large).sum(-1, keepdim=True)
        + (unit + eta) * (arriving * output).abs().sum(-1, keepdim=True)
        + floor * large.sum(-1, keepdim=True) / total
        + floor * arriving.abs().sum(-1, keepdim=True)
    )
    sizes = arrived.abs() + delta.abs()
    off = weights * (
        weight_off * (arrived - delta).abs() + eta * large + delta_off + 2 * u32 * sizes
    )
    off = off + 2 * u32 * gradient.abs()
    each = off + (unit * gradient.abs() + floor) * seen
    back = drawn.visible.sum(-2, keepdim=True).double().transpose(-1, -2)
    absolute, turned = gradient.abs(), (each.transpose(-1, -2), gradient.abs().transpose(-1, -2))
    results = [
        output,
        scale * gradient @ key,
        scale * gradient.transpose(-1, -2) @ query,
        weights.transpose(-1, -2) @ arriving,
    ]
    kept = weights * (weight_off + unit + 2 * u32) + floor * seen
    bounds = [
        bound,
        scale * (each + sigma * count.sqrt() * absolute) @ key.abs() + count * TINY,
        scale * (turned[0] + sigma * back.sqrt() * turned[1]) @ query.abs() + back * TINY,
        (kept.transpose(-1, -2) + sigma * back.sqrt() * weights.transpose(-1, -2)) @ arriving.abs()
        + back * TINY,
    ]
    return True64(results, bounds)


@dataclass
class Errors:
    """A contestant's errors: in units of the bound, and relative over all elements."""

    worst: list[float]
    relative: list[float]


def errors_of(found: list[Tensor], true: True64, dtype: str) -> Errors:
    """The errors of an output and three gradients, (batch, heads, rows, dim)."""
    worst, relative = [], []
    for one, wanted, bound in zip(found, true.results, true.bounds):
        apart = (one.double() - wanted).abs()
        last = (UNITS[dtype] * wanted.abs()).clamp_min(FLOORS[dtype])
        # NaN counts as an infinite error. The bound is 0 for gradients of a key that nobody sees.
        over = (apart - last).nan_to_num(nan=float("inf")).clamp_min(0)
        share = torch.where(over > 0, over / bound, 0.0)
        worst.append(float(share.max()))
        relative.append(float(apart.norm() / wanted.norm()))
    return Errors(worst, relative)


def results_of(peer: Peer, cell: Cell, drawn: Drawn) -> list[Tensor]:
    """A peer's output and gradients, (batch, heads, rows, dim)."""
    with peer.held():
        prepared = peer.prepare(cell, drawn.given)
        output = prepared.forward()
        arriving = drawn.arriving.transpose(1, 2) if prepared.is_by_head else drawn.arriving
        gradients = torch.autograd.grad(output, prepared.wanted[:3], arriving.contiguous())
    found = [output.detach(), *gradients]
    return found if prepared.is_by_head else [x.transpose(1, 2) for x in found]


def cells_of(family: str, length: int, dtype: str, device: str) -> list[tuple[Cell, Drawn]]:
    """The problems of a family."""
    cells = []
    for dim in DIMS:
        for causal in (False, True):
            drawn = draw(family, (length, HEADS, dim), causal, getattr(torch, dtype), device)
            if drawn is None:
                continue
            options = {} if drawn.mask is None else {"mask": drawn.mask}
            cell = Cell(length, dim, causal, dtype, length, HEADS, options=options)
            cells.append((cell, drawn))
    return cells


def measure(family: str, dtype: str, asked: argparse.Namespace) -> dict[str, Errors | str]:
    """Each contestant's worst errors over a family's problems; a reason if it runs none of them."""
    found: dict[str, Errors | str] = {}
    for cell, drawn in cells_of(family, asked.length, dtype, asked.device):
        true = truth(drawn, dtype)
        for peer in [Ours(), *sdpa_ways()]:
            before = found.get(peer.name)
            try:
                results = attempt(partial(results_of, peer, cell, drawn))
            except DeclinedError as reason:
                found.setdefault(peer.name, str(reason))
                continue
            now = errors_of(results, true, dtype)
            if isinstance(before, Errors):
                now.worst = list(map(max, now.worst, before.worst))
                now.relative = list(map(max, now.relative, before.relative))
            found[peer.name] = now
    return found


def figure(number: float) -> str:
    """Two digits of a number, in as few characters as possible."""
    return (
        f"{number:.2f}" if number < 9.995 else f"{number:.0f}" if number < 1e4 else f"{number:.0e}"
    )


def print_bounds(dtype: str, found: dict[str, dict[str, Errors | str]]) -> None:
    """The table of one type, and why cells of it are empty."""
    names = list(next(iter(found.values())))
    print(f"\n{dtype}, worst error of the output / of the gradients, in units of the bound\n")
    print(f"| family | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    reasons = {}
    for family, row in found.items():
        texts = []
        for name in names:
            one = row[name]
            if isinstance(one, str):
                reasons[name, one] = family
                texts.append("")
            else:
                texts.append(f"{figure(one.worst[0])} / {figure(max(one.worst[1:]))}")
        print(f"| {family} | {' | '.join(texts)} |", flush=True)
    for name, reason in reasons:
        print(f"\n{name} leaves some out: {reason}")


def print_relative(found: dict[str, dict[str, dict[str, Errors | str]]]) -> None:
    """Prints the gauss family's relative errors over all elements."""
    print("\nGauss, all elements together, relative to the true ones\n")
    names = list(next(iter(next(iter(found.values())).values())))
    print(f"| | {' | '.join(names)} |")
    print("|---" * (len(names) + 1) + "|")
    for dtype, families in found.items():
        row = families.get("gauss", {})
        for place, what in enumerate(NAMES):
            ones = [row.get(name) for name in names]
            texts = [f"{x.relative[place]:.1e}" if isinstance(x, Errors) else "" for x in ones]
            print(f"| {dtype} {what} | {' | '.join(texts)} |")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--dtype", action="append", choices=list(UNITS))
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    name = torch.cuda.get_device_name() if asked.device != "cpu" else "the processor"
    print(f"{name}, torch {torch.__version__}, tilewise {tilewise.__version__}")
    found = {}
    for dtype in asked.dtype or ["bfloat16", "float16"]:
        rows = {family: measure(family, dtype, asked) for family in asked.family or FAMILIES}
        found[dtype] = rows
        print_bounds(dtype, rows)
    print_relative(found)
    if asked.json:
        whole: dict[str, Any] = {
            dtype: {
                family: {k: v if isinstance(v, str) else vars(v) for k, v in row.items()}
                for family, row in rows.items()
            }
            for dtype, rows in found.items()
        }
        asked.json.write_text(json.dumps({"gpu": name, "errors": whole}, indent=1))


if __name__ == "__main__":
    main()
