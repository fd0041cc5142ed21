"""Adds up the results of the parts of `./dev test`, and prints a table and a closing line.

A part leaves JUnit files in a folder of its name: ctest's own ctest.xml, and one NAME.xml for each
test program that counts its cases itself.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
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
    """The cases of one part, which is one case without files. A failed part has a failed one."""
    total = NOTHING
    counted: set[str] = set()
    for path in sorted(folder.glob("*.xml")):
        if path.name != "ctest.xml":
            counted.add(path.stem)
            cases = count_file(path)
            # A program that ran no case counts as a failure: its filter matched nothing.
            total = total.plus(cases if cases != NOTHING else Counts(0, 1, 0))
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


class Ended(NamedTuple):
    """A part of `./dev test` that has run."""

    name: str
    status: int  # its exit status
    seconds: float
    budget: int | None  # seconds that it may take

    @property
    def is_late(self) -> bool:
        """Whether it took longer than it may."""
        return self.budget is not None and self.seconds > self.budget


def _row(name: str, seconds: float, budget: int | None, counts: str, remark: str = "") -> str:
    allowed = "" if budget is None else str(budget)
    return f"{name:10}{seconds:9.0f}{allowed:>9}{counts}{remark}"


def show(
    folder: Path,
    parts: list[Ended],
    elapsed: float,
    bar: int | None,
    left_out: Mapping[str, str] | None = None,
) -> int:
    """Prints the table, then the sum on a line; returns 1 if a test failed or none passed.

    `left_out` has the parts that did not run, each with the reason.
    """
    total = NOTHING
    print(f"\n{'part':10}{'seconds':>9}{'budget':>9}{'passed':>9}{'failed':>9}{'skipped':>9}")
    for part in parts:
        counts = count_part(folder / part.name, part.status)
        if part.is_late:
            counts = counts.plus(Counts(0, 1, 0))
        total = total.plus(counts)
        cells = "".join(f"{count:9}" for count in counts)
        remark = "  took longer than its budget" if part.is_late else ""
        print(_row(part.name, part.seconds, part.budget, cells, remark))
    for name, reason in (left_out or {}).items():
        print(f"{name:10}  NOT RUN: {reason}")
    budgets = sum(part.budget or 0 for part in parts)
    print(_row("sum", sum(part.seconds for part in parts), budgets or None, ""))
    late = "  longer than the bar" if bar is not None and elapsed > bar else ""
    print(_row("elapsed", elapsed, bar, "", late))
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed or not total.passed else 0
