"""Checks that each mutant of tests/mutants fits the sources and tests.

A mutant's text must occur once in its file, at a place where a switch can be written. The row of a
wrong mutant must name at least two checks that exist, one of which compares results of calls; the
row of a harmless one must name none. Usage: check_mutants.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mutant_list import LIST, Mutant, mutated, read_list
from mutant_runs import ENOUGH, OF_THE_GPUS_RESULTS, OF_THE_HARNESS, RANDOM_CALLS
from mutant_text import ChangeError

ROOT = Path(__file__).resolve().parent.parent
_TEST = re.compile(r"\b(?:TYPED_)?TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)")


def check_named(root: Path) -> set[str]:
    """The names that a check can have: random calls, a header of core, a test."""
    names = {f"core's {path.stem}" for path in (root / "src/core").glob("*.h")}
    for path in sorted((root / "tests").rglob("*_test.cpp")):
        names |= {f"{suite}.{test}" for suite, test in _TEST.findall(path.read_text())}
    return {RANDOM_CALLS, *names}


def suites_of_results(root: Path, backend: str) -> set[str]:
    """The suites of a backend's programs that compare results of calls."""
    if backend == "cuda":
        return OF_THE_GPUS_RESULTS
    texts = (path.read_text() for path in (root / "tests/conformance").glob("*_test.cpp"))
    return {suite for text in texts for suite, _ in _TEST.findall(text)} - OF_THE_HARNESS


def suite_of(check: str) -> str:
    """The suite that a check belongs to."""
    return "Conformance" if check == RANDOM_CALLS else check.split(".")[0]


def check_mutant(
    mutant: Mutant, root: Path, checks: set[str], of_results: set[str]
) -> Iterator[str]:
    """The complaints about one mutant."""
    path = root / mutant.file
    if path.is_file():
        try:
            mutated(mutant.file, path.read_text(), [mutant])
        except ChangeError as reason:
            yield f"{reason}."
    else:
        yield f"{mutant.name}: there is no {mutant.file}."
    if not mutant.sentence.endswith("."):
        yield f"{mutant.name}: `{mutant.sentence}` is no sentence."
    if mutant.include and not (root / LIST / mutant.include).is_file():
        yield f"{mutant.name}: there is no {LIST}/{mutant.include}."
    for check in sorted(mutant.caught_by - checks):
        yield f"{mutant.name}: there is no check `{check}`."
    if mutant.is_harmless and mutant.caught_by:
        yield f"{mutant.name}: nothing may notice what is harmless."
    if not mutant.is_harmless and len(mutant.caught_by) < ENOUGH:
        yield f"{mutant.name}: names {len(mutant.caught_by)} checks that notice it, not {ENOUGH}."
    if mutant.caught_by and not {*map(suite_of, mutant.caught_by)} & of_results:
        yield f"{mutant.name}: names no check that compares results of calls."


def main(arguments: list[str]) -> int:
    """1 when there is a complaint, or no mutant."""
    root = Path(arguments[0]).resolve() if arguments else ROOT
    mutants: list[Mutant] = []
    complaints: list[str] = []
    try:
        mutants = read_list(root)
    except ChangeError as reason:
        complaints.append(f"{reason}.")
    checks = check_named(root)
    backends = {mutant.backend for mutant in mutants}
    of_results = {backend: suites_of_results(root, backend) for backend in backends}
    for mutant in mutants:
        complaints += check_mutant(mutant, root, checks, of_results[mutant.backend])
    if not complaints:
        try:
            for file in {mutant.file for mutant in mutants}:
                mutated(file, (root / file).read_text(), mutants)
        except ChangeError as reason:
            complaints.append(f"{reason}.")
    if not mutants:
        complaints.append(f"{LIST} holds no mutants.")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"mutants: {len(mutants)} changes, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
