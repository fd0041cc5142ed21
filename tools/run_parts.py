"""Runs the parts of `./dev test`, two side by side, and ends with a table of what each took.

Usage: run_parts.py quick|usual|full. tools/test.sh says what a part does; this file says when it
runs and how long it may take. Each of the two has half of the processors, so that the other half
stays busy while one part links, or waits for its longest test.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from sum_results import Ended, show

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build/results"
# Seconds that all parts of the usual extent should take on two processors, without torch and with
# it. With torch a clean run took 1450 on an idle machine. A run that takes longer says so and does
# not fail: how many processors there are, and who else keeps them busy, differs between machines.
BAR, BAR_WITH_TORCH = 18 * 60, 28 * 60
# Seconds that each part may take; a part that takes longer fails. A budget is 1.5 times what the
# part took on two cores that two other runs kept busy (release: 848 s, alone 309 s); for torch,
# which is mostly a download, twice.
BUDGETS = {
    "release": 1300,
    "lint": 800,
    "asan": 1250,
    "pack": 550,
    "python": 200,
    "torch": 900,
    "examples": 30,
    "clang": 350,
    "tsan": 600,
    "neon": 300,
}
# In the order in which they begin, unless they wait for another part.
USUAL = list(BUDGETS)
EXTENTS = {
    "quick": ["release"],
    "usual": USUAL,
    "full": [*USUAL, "dev", "check", "mutants", "fuzz", "analysis"],
}
# The parts that begin only after others have ended, well or not. The pack's program is built from
# the release; wheels take what the part pack has compiled.
AFTER = {
    "pack": {"release"},
    "python": {"pack"},
    "torch": {"python"},
    "examples": {"release", "python"},
    "check": {"release"},
    "analysis": {"lint"},
}
SIDE_BY_SIDE = 2
# The exit status by which a part of MAY_LACK says that this machine lacks what the part needs; its
# last line is the reason. In CI this status is a failure, because every part has to run in CI.
LACKS, MAY_LACK = 77, {"torch"}


def left_out(extent: str) -> dict[str, str]:
    """The parts of an extent that are not begun here, and why."""
    reasons = {}
    # torch is gigabytes from the package index, and most of this part's budget is for the download.
    # So a person's usual run has this part only where torch is installed already.
    if extent == "usual" and not os.environ.get("CI") and not (ROOT / "build/torch-venv").exists():
        reasons["torch"] = "there is no build/torch-venv; .ci/run, or CI=1, installs it (gigabytes)"
    if platform.machine() != "x86_64":
        reasons["neon"] = f"./dev has no emulator of 64-bit ARM for {platform.machine()}"
    return {part: reason for part, reason in reasons.items() if part in EXTENTS[extent]}


class Running(NamedTuple):
    """A part that has begun."""

    process: subprocess.Popen[bytes]
    begin: float
    output: Path | None  # what it says, unless it says so at once


class Runner:
    """Runs parts by `COMMAND PART`, each with a folder RESULTS/PART and an equal share of jobs."""

    def __init__(self, command: list[str], results: Path, extent: str) -> None:
        """Empties the folder of results."""
        self.command, self.results, self.extent = command, results, extent
        self.left_out = left_out(extent)
        self.waiting = [part for part in EXTENTS[extent] if part not in self.left_out]
        self.running: dict[str, Running] = {}
        self.ended: list[Ended] = []
        processors = len(os.sched_getaffinity(0))
        self.lanes = min(SIDE_BY_SIDE, processors, len(self.waiting))
        self.jobs = -(-processors // self.lanes)
        shutil.rmtree(results, ignore_errors=True)

    def run(self) -> list[Ended]:
        """All parts, in the order in which they ended."""
        try:
            while self.waiting or self.running:
                while (name := self._next()) is not None:
                    self._begin(name)
                self._reap()
        finally:
            for running in self.running.values():
                os.killpg(running.process.pid, signal.SIGTERM)
        return self.ended

    def _next(self) -> str | None:
        if len(self.running) >= self.lanes:
            return None
        unfinished = {*self.waiting, *self.running}
        ready = (name for name in self.waiting if not AFTER.get(name, set()) & unfinished)
        return next(ready, None)

    def _begin(self, name: str) -> None:
        self.waiting.remove(name)
        print(f"== {name}", flush=True)
        folder = self.results / name
        folder.mkdir(parents=True)
        # Two parts that print at the same time could not be read.
        output = folder / "output.txt" if self.lanes > 1 else None
        environment = {
            **os.environ,
            "TILEWISE_JOBS": str(self.jobs),
            "TILEWISE_EXTENT": self.extent,
        }
        process = subprocess.Popen(
            [*self.command, name],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output.open("wb") if output else None,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,  # so that all of it can be stopped
        )
        self.running[name] = Running(process, time.monotonic(), output)

    def _reap(self) -> None:
        for name, running in list(self.running.items()):
            status = running.process.poll()
            if status is None:
                continue
            del self.running[name]
            seconds = time.monotonic() - running.begin
            budget = None if self.extent == "full" else BUDGETS[name]
            said = running.output.read_text(errors="replace") if running.output else ""
            print(said, end="")
            if status == LACKS and name in MAY_LACK and not os.environ.get("CI"):
                self.left_out[name] = (said.strip() or "it printed above why").splitlines()[-1]
                print(f"== {name} was not run", flush=True)
                continue
            print(
                f"== {name} {'took' if status == 0 else 'FAILED after'} {seconds:.0f} s", flush=True
            )
            self.ended.append(Ended(name, status, seconds, budget))
        time.sleep(0.1)


def main(arguments: list[str]) -> int:
    """1 when a part failed or exceeded its budget; exceeding the bar of all is only printed."""
    extent = arguments[0] if arguments else "usual"
    if extent not in EXTENTS:
        print(f"There is no extent {extent}; there are {', '.join(EXTENTS)}.", file=sys.stderr)
        return 2
    begin = time.monotonic()
    # SIGTERM as Ctrl-C: the parts must not outlive this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runner = Runner(["sh", str(ROOT / "tools/test.sh")], RESULTS, extent)
    ended = runner.run()
    usual_bar = BAR if "torch" in runner.left_out else BAR_WITH_TORCH
    bar = usual_bar if extent == "usual" else None
    return show(RESULTS, ended, time.monotonic() - begin, bar, runner.left_out)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
