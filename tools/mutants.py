"""Makes the library wrong on purpose, one mistake at a time, and asks which tests notice.

The mistakes are changes of the sources, listed in tests/mutants. A copy of the tree holds them all,
each behind a switch that the environment chooses, so one build serves for all. Each mistake has to
be caught by two independent checks, at least one of which compares results of calls; the list names
the checks. Harmless mutants are changes that are no mistakes: no test may fail with them.
Usage: mutants.py [--mutant NAME] [--all] [--list] [--no-build]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutant_list import Mutant, read_list, write_copy
from mutant_runs import LEFT_OUT, OF_THE_GPU, Failure, Runner, Verdict

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/mutants"


def row_of(verdict: Verdict) -> str:
    """A mutant's line in the table."""
    mutant, checks = verdict.mutant, verdict.endings
    count = f"{len(checks)}{'+' if verdict.stopped else ''}"
    named = ", ".join(checks[:3]) + (", ..." if len(checks) > 3 else "")
    if mutant.is_harmless:
        found = f"FALSE ALARM of {named}" if checks else "left alone"
    else:
        found = named if verdict.ok else f"MISSED{': only ' + named if checks else ''}"
    return f"{mutant.name:34} {count:>3}  {mutant.sentence}\n{'':40}{found}"


def summary(verdicts: list[Verdict]) -> tuple[list[str], int]:
    """The summary's lines, and the exit status."""
    harmless = [verdict for verdict in verdicts if verdict.mutant.is_harmless]
    wrong = [verdict for verdict in verdicts if not verdict.mutant.is_harmless]
    caught, alone = sum(verdict.ok for verdict in wrong), sum(verdict.ok for verdict in harmless)
    lines = [
        f"{alone} harmless left alone, {len(harmless) - alone} false alarms",
        f"{caught} caught, {len(wrong) - caught} missed",
    ]
    bad = not verdicts or not all(verdict.ok for verdict in verdicts)
    return lines, 1 if bad else 0


def show(failures: list[Failure]) -> None:
    """Prints everything that failed."""
    for failure in failures:
        ending = f" ({failure.how})" if failure.how else ""
        print(f"  {failure.program}: {failure.suite}.{failure.test}{ending}")


def examine_all(
    mutants: list[Mutant], examine: Callable[[Mutant], Verdict], workers: int
) -> list[Verdict]:
    """The verdicts in the list's order, each printed once all before it are known."""
    verdicts = []
    with ThreadPoolExecutor(workers) as pool:
        for verdict in pool.map(examine, mutants):
            print(row_of(verdict), flush=True)
            verdicts.append(verdict)
    return verdicts


def build(folder: Path, mutants: list[Mutant]) -> None:
    """Writes a copy of the sources with all mutants in it, and builds its test programs."""
    source, made = folder / "source", folder / "build"
    write_copy(ROOT, source, mutants)
    options = ["CMAKE_BUILD_TYPE=Release", "TILEWISE_BUILD_CLI=OFF", "TILEWISE_PACK=OFF"]
    configure = ["cmake", "-S", str(source), "-B", str(made), "-G", "Ninja"]
    _run([*configure, *(f"-D{option}" for option in options)])
    tests = {
        f"test_{'_'.join(path.parent.relative_to(source / 'tests').parts)}"
        for path in (source / "tests").rglob("*_test.cpp")
    }
    programs = sorted(tests - LEFT_OUT | {OF_THE_GPU})
    _run(["cmake", "--build", str(made), "-j", str(os.cpu_count()), "--target", *programs])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print((done.stdout + done.stderr)[-4000:], file=sys.stderr)
        sys.exit(f"{' '.join(command[:4])} failed.")


def ready_runner(folder: Path, backend: str) -> Runner:
    """A Runner that has run all suites without a mutant and knows how long each takes."""
    runner = Runner(folder / "build", ROOT / "src/core", backend)
    if not runner.programs:
        sys.exit(f"{folder} holds no test programs: is gtest installed?")
    if failures := runner.learn():
        show(failures)
        sys.exit(f"Without any mutant the tests of {backend} fail: mend that first.")
    return runner


def main(arguments: list[str]) -> int:
    """Returns 1 if a mutant was missed, a harmless one noticed, or there was none to examine."""
    parser = argparse.ArgumentParser(
        prog="./dev mutants", description=(__doc__ or "").split(":")[0].split("\n")[0]
    )
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    parser.add_argument("--mutant", metavar="NAME", help="examine one and print all that failed")
    parser.add_argument("--all", action="store_true", help="run all tests for each mutant")
    parser.add_argument("--no-build", action="store_true", help="take the build as it is")
    parser.add_argument("--build", type=Path, default=BUILD, help="its folder (%(default)s)")
    given = parser.parse_args(arguments)
    mutants = listed = read_list(ROOT)
    if given.list:
        for mutant in mutants:
            print(f"{mutant.name:34} {'(harmless) ' * mutant.is_harmless}{mutant.sentence}")
        return 0 if mutants else 1
    if given.mutant:
        mutants = [mutant for mutant in listed if mutant.name == given.mutant]
        if not mutants:
            sys.exit(f"{given.mutant} is no mutant: --list prints their names.")

    begin = time.monotonic()
    if not given.no_build:
        build(given.build, listed)
        print(f"{time.monotonic() - begin:.0f} s to build", flush=True)
    runners = {
        backend: ready_runner(given.build, backend)
        for backend in sorted({mutant.backend for mutant in mutants})
    }
    run_all = given.all or given.mutant is not None
    verdicts = examine_all(
        mutants,
        lambda mutant: runners[mutant.backend].examine(mutant, run_all),
        os.cpu_count() or 1,
    )
    if given.mutant:
        show(verdicts[0].failures)
    lines, status = summary(verdicts)
    print(f"{time.monotonic() - begin:.0f} s")
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
