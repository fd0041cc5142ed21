"""Adds up the results of the parts of `./dev test` and prints the closing line.

Usage: sum_results.py FOLDER. FOLDER/parts.txt has a line `name status` for each part, and
FOLDER/name holds the JUnit files that it left: ctest's own ctest.xml and one NAME.xml for each
program of ctest that counts its cases itself.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple


class Counts(NamedTuple):
    """How many cases passed, failed and were skipped."""

    passed: int
    failed: int
    skipped: int

    def plus(self, other: Counts) -> Counts:
        """The sums of both."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


NOTHING = Counts(0, 0, 0)


def _case_counts(case: ElementTree.Element) -> Counts:
    bad = case.find("failure") is not None or case.find("error") is not None
    skip = case.find("skipped")
    if skip is not None and "Unable to find executable" in skip.get("message", ""):
        bad = True
    skipped = (
        skip is not None
        or case.get("status") in ("notrun", "disabled")
        or case.get("result") in ("suppressed", "skipped")
    )
    if bad:
        return Counts(0, 1, 0)
    return Counts(0, 0, 1) if skipped else Counts(1, 0, 0)


def count_file(path: Path) -> Counts:
    """The cases of one JUnit file."""
    total = NOTHING
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        total = total.plus(_case_counts(case))
    return total


def count_part(folder: Path, status: int) -> Counts:
    """The cases of one part. Without files it is one case; when it failed, a case of it failed."""
    total = NOTHING
    counted: set[str] = set()
    for path in sorted(folder.glob("*.xml")):
        if path.name != "ctest.xml":
            counted.add(path.stem)
            total = total.plus(count_file(path))
    if (folder / "ctest.xml").exists():
        for case in ElementTree.parse(folder / "ctest.xml").getroot().iter("testcase"):
            one = _case_counts(case)
            own = folder / f"{case.get('name')}.xml"
            # A program may fail with all its cases passed: a leak is found after the last one.
            if case.get("name") not in counted or (one.failed and count_file(own).failed == 0):
                total = total.plus(one)
    if total == NOTHING and status == 0:
        return Counts(1, 0, 0)
    return total.plus(Counts(0, 1, 0)) if status != 0 and total.failed == 0 else total


def main(arguments: list[str]) -> int:
    """Prints a line for each part and the sum; 1 when something failed or nothing passed."""
    folder = Path(arguments[0])
    total = NOTHING
    for line in (folder / "parts.txt").read_text().splitlines():
        name, status = line.split()
        part = count_part(folder / name, int(status))
        print(f"{name:>10}: {part.passed} passed, {part.failed} failed, {part.skipped} skipped")
        total = total.plus(part)
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
