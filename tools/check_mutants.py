"""Checks that the mutants of tests/mutants are those of the sources and tests as they stand.

Each changes a text that its file has once, can be switched on, and names two checks that there are.
Usage: check_mutants.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mutant_list import LIST, Mutant, mutated, read_list
from mutant_text import ChangeError

ROOT = Path(__file__).resolve().parent.parent
ENOUGH = 2  # checks that notice
RANDOM_CALLS = "random calls"
_TEST = re.compile(r"\b(?:TYPED_)?TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\s*\)")


def check_named(root: Path) -> set[str]:
    """The names that a check can have: random calls, a header of core, a test."""
    names = {f"core's {path.stem}" for path in (root / "src/core").glob("*.h")}
    for path in sorted((root / "tests").rglob("*_test.cpp")):
        names |= {f"{suite}.{test}" for suite, test in _TEST.findall(path.read_text())}
    return {RANDOM_CALLS, *names}


def check_mutant(mutant: Mutant, root: Path, checks: set[str]) -> Iterator[str]:
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
    for mutant in mutants:
        complaints += check_mutant(mutant, root, checks)
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
