"""Draws speed and memory of square attention (as many keys as queries) against length.

Usage: plot_history.py [HISTORY [PLOTS]]. Reads every *.jsonl in HISTORY (bench/history) and writes
SVG and an index to PLOTS (docs/plots). If a result is there twice, the later line counts.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# Fewer lengths than these make no curve.
LEAST_LENGTHS = 3

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 170, 44, 54

# Colours that differ by day, at night and for the colour-blind; ours is always the first.
COLOURS = ("#3b7dd8", "#d9822b", "#2f9e6e", "#a55eca", "#c94f4f", "#7a8699")
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 15px; }
  .faint { fill: #57606a; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .line { fill: none; stroke-width: 2; }
  .bound { stroke: #57606a; stroke-dasharray: 5 4; }
  .paper { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .faint { fill: #9da7b1; }
    .grid { stroke: #30363d; }
    .bound { stroke: #9da7b1; }
    .paper { fill: #0d1117; }
  }
"""


class Series(NamedTuple):
    """One curve of a picture."""

    name: str
    points: dict[int, float]  # by length
    is_bound: bool = False  # no implementation: what cannot be passed, or what others need


class Picture(NamedTuple):
    """One plot: its curves and the words around them."""

    file: str
    title: str
    unit: str
    is_logarithmic: bool
    series: list[Series]


class Group(NamedTuple):
    """Cases of one machine and direction that differ only in length."""

    machine: str
    dtype: str
    dim: int
    heads: int
    is_causal: bool
    direction: str
    tokens: int = 0  # of the whole batch, where lengths share as many; 0: one sequence

    def slug(self) -> str:
        """The group's part of a file name."""
        mask = "causal" if self.is_causal else "full"
        return f"{self.machine}-{self.dtype}-d{self.dim}-{mask}-{self.direction}"

    def words(self) -> str:
        """The group in a title."""
        mask = "causal" if self.is_causal else "full"
        words = f"{self.direction}, {mask}, {self.dtype}, {self.heads} heads of {self.dim}"
        return words + (f", {self.tokens} tokens" if self.tokens else "")

    def batch(self, length: int) -> int:
        """How many sequences of this length a case has."""
        return self.tokens // length if self.tokens else 1


def group_of(machine: str, case: dict[str, Any], is_gpu: bool) -> Group | None:
    """The group of a case; None if it was refused, is not square, or has fewer key heads.

    On a GPU a group's cases have the same number of tokens, batch * length. On the processor a case
    with a batch above 1 has no group.
    """
    if "refused" in case or case["heads"] != case["key_heads"] or case["queries"] != case["keys"]:
        return None
    if not is_gpu and case["batch"] != 1:
        return None
    tokens = case["batch"] * case["queries"] if is_gpu else 0
    shape = case["dtype"], case["dim"], case["heads"], case["causal"]
    return Group(machine, *shape, case["direction"], tokens)


Cases = dict[int, dict[str, dict[str, Any]]]  # by length, by backend


def read_history(folder: Path) -> dict[Group, Cases]:
    """The cases of square attention in all files, the last line of each counting."""
    groups: dict[Group, Cases] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            for case in record["cases"]:
                group = group_of(path.stem, case, record.get("device") is not None)
                if group is None:
                    continue
                lengths = groups.setdefault(group, {})
                lengths.setdefault(case["queries"], {})[case["backend"]] = case
    return {group: cases for group, cases in groups.items() if len(cases) >= LEAST_LENGTHS}


def _curve(name: str, cases: Cases, figure: Callable[[dict[str, Any]], float | None]) -> Series:
    points: dict[int, float] = {}
    for length, backends in sorted(cases.items()):
        found = [value for case in backends.values() if (value := figure(case)) is not None]
        if found:
            points[length] = max(found)
    return Series(name, points)


def _own(cases: Cases, backend: str, field: str) -> Series:
    return _curve(
        f"tilewise {backend}",
        {length: {backend: by[backend]} for length, by in cases.items() if backend in by},
        lambda case: float(case[field]),
    )


def _names(cases: Cases) -> tuple[list[str], list[str]]:
    backends = {backend for by in cases.values() for backend in by}
    peers = {peer for by in cases.values() for case in by.values() for peer in case["peer_gflops"]}
    return sorted(backends), sorted(peers)


def _peer_figure(peer: str, case: dict[str, Any]) -> float | None:
    found = case["peer_gflops"].get(peer)
    return None if found is None else float(found)


def divided(points: dict[int, float], by: float) -> dict[int, float]:
    """The points, with their values divided by a unit."""
    return {length: value / by for length, value in points.items()}


def speed_picture(group: Group, cases: Cases) -> Picture:
    """A picture of GFLOP/s (on a GPU TFLOP/s): ours, the peers' and the processor's peak."""
    backends, peers = _names(cases)
    series = [_own(cases, backend, "gflops") for backend in backends]
    series += [_curve(peer, cases, partial(_peer_figure, peer)) for peer in peers]
    peak = _curve("peak", cases, lambda case: float(case["peak_gflops"]))
    series.append(peak._replace(is_bound=True))
    unit = "GFLOP/s"
    if group.tokens:
        unit = "TFLOP/s"
        series = [each._replace(points=divided(each.points, 1000)) for each in series]
    return Picture(f"{group.slug()}-speed.svg", f"Speed: {group.words()}", unit, False, series)


def memory_picture(group: Group, cases: Cases) -> Picture:
    """A picture of the memory beside the operands, and of what stored scores would take."""
    series = [_own(cases, backend, "workspace_bytes") for backend in _names(cases)[0]]
    pairs = {length: group.batch(length) * length * length for length in sorted(cases)}
    scores = {length: 4.0 * group.heads * count for length, count in pairs.items()}
    series.append(Series("scores, if kept", scores, is_bound=True))
    return Picture(f"{group.slug()}-memory.svg", f"Memory: {group.words()}", "bytes", True, series)


def number_text(value: float, is_bytes: bool) -> str:
    """A tick's label: 200, 4 MiB."""
    if not is_bytes:
        return f"{value:g}"
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = max(0, min(len(units) - 1, int(math.log2(value) // 10))) if value >= 1 else 0
    return f"{value / 1024**step:g} {units[step]}"


def linear_ticks(most: float) -> list[float]:
    """About five round numbers from 0 to just beyond `most`."""
    rough = max(most, 1e-9) / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def binary_ticks(least: float, most: float) -> list[float]:
    """Powers of two around both, at most eight of them."""
    first = math.floor(math.log2(max(least, 1)))
    last = max(first + 1, math.ceil(math.log2(max(most, 2))))
    step = -(-(last - first) // 7)
    return [2.0**power for power in range(first, last + step, step)]


def svg(picture: Picture) -> str:
    """The whole picture as text."""
    series = [each for each in picture.series if each.points]
    lengths = sorted({length for each in series for length in each.points})
    values = [value for each in series for value in each.points.values() if value > 0]
    if picture.is_logarithmic:
        ticks = binary_ticks(min(values), max(values))
    else:
        ticks = linear_ticks(max(values))
    first, last = math.log2(lengths[0]), math.log2(lengths[-1])

    def across(length: int) -> float:
        return LEFT + (math.log2(length) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        if picture.is_logarithmic:
            low, high = math.log2(ticks[0]), math.log2(ticks[-1])
            part = (math.log2(max(value, ticks[0])) - low) / (high - low)
        else:
            part = value / ticks[-1]
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    is_bytes = picture.unit == "bytes"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(picture.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(picture.title)}</text>',
    ]
    for tick in ticks:
        y = up(tick)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="faint" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
            f"{number_text(tick, is_bytes)}</text>"
        )
    for length in lengths:
        lines.append(
            f'<text class="faint" x="{across(length):.1f}" y="{HEIGHT - BOTTOM + 20}" '
            f'text-anchor="middle">{length}</text>'
        )
    lines.append(
        f'<text class="faint" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 12}" '
        f'text-anchor="middle">length, in queries and keys</text>'
        f'<text class="faint" x="{LEFT - 22}" y="{HEIGHT - BOTTOM + 20}" '
        f'text-anchor="end">{picture.unit}</text>'
    )
    for place, each in enumerate(series):
        lines += _curve_lines(each, place, across, up)
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def _curve_lines(
    series: Series, place: int, across: Callable[[int], float], up: Callable[[float], float]
) -> list[str]:
    colour = COLOURS[place % len(COLOURS)]
    look = 'class="line bound"' if series.is_bound else f'class="line" stroke="{colour}"'
    points = [(across(length), up(value)) for length, value in sorted(series.points.items())]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    lines = [f'<polyline {look} points="{path}"/>']
    if not series.is_bound:
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    x, y = WIDTH - RIGHT + 18, TOP + 16 + 22 * place
    lines.append(
        f'<line {look} x1="{x}" x2="{x + 22}" y1="{y - 4}" y2="{y - 4}"/>'
        f'<text x="{x + 30}" y="{y}">{escape(series.name)}</text>'
    )
    return lines


def index_page(pictures: list[Picture]) -> str:
    """The page that shows them all."""
    lines = [
        "# Plots",
        "",
        "Drawn by `./dev docs` from [bench/history](../../bench/history/README.md); what the",
        "figures mean is in [benchmarks.md](../benchmarks.md).",
        "",
    ]
    for picture in pictures:
        lines += [f"![{picture.title}]({picture.file})", ""]
    return "\n".join(lines)


def draw(history: Path, plots: Path) -> int:
    """Writes all pictures; returns how many."""
    pictures = []
    for group, cases in sorted(read_history(history).items()):
        pictures += [speed_picture(group, cases), memory_picture(group, cases)]
    if not pictures:
        return 0
    plots.mkdir(parents=True, exist_ok=True)
    for stale in plots.glob("*.svg"):
        stale.unlink()
    for picture in pictures:
        (plots / picture.file).write_text(svg(picture), encoding="utf-8")
    (plots / "README.md").write_text(index_page(pictures), encoding="utf-8")
    return len(pictures)


def main(arguments: list[str]) -> int:
    """Draws the project's own history unless told otherwise."""
    history = Path(arguments[0]) if arguments else ROOT / "bench" / "history"
    plots = Path(arguments[1]) if len(arguments) > 1 else ROOT / "docs" / "plots"
    count = draw(history, plots)
    if count:
        print(f"plots: {count} in {plots}")
    else:
        print("plots: none; ./dev bench record makes the figures that they need")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
