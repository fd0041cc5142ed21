"""sum_results.py must count each case once and lose no failure."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import sum_results
from sum_results import Counts, Ended

PASSED = '<testcase name="{0}" status="run"/>'
FAILED = '<testcase name="{0}" status="fail"><failure message="no"/></testcase>'
NOT_BUILT = (
    '<testcase name="{0}" status="notrun"><skipped message="Unable to find executable"/></testcase>'
)
SKIPPED = '<testcase name="{0}" status="run"><skipped/></testcase>'
TEST, OTHER = PASSED.format("test_core"), PASSED.format("consumers")
BROKEN = FAILED.format("test_core")


class Results(unittest.TestCase):
    """Folders as ctest and the test programs leave them."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_counts(self) -> None:
        """(what each file holds, the part's exit status, passed, failed, skipped)."""
        table: list[tuple[dict[str, str], int, tuple[int, int, int]]] = [
            # ctest's entry of a program that wrote its cases is no case of its own.
            ({"test_core": PASSED + SKIPPED + PASSED, "ctest": TEST + OTHER}, 0, (3, 0, 1)),
            ({"ctest": BROKEN + OTHER}, 8, (1, 1, 0)),  # it crashed, and left no file
            ({"ctest": OTHER + NOT_BUILT.format("test_core")}, 8, (1, 1, 0)),
            ({"test_core": PASSED, "ctest": BROKEN}, 8, (1, 1, 0)),  # a leak, after its cases
            ({"test_core": "", "ctest": TEST}, 0, (0, 1, 0)),  # its filter met nothing
            ({}, 0, (1, 0, 0)),
            ({}, 1, (0, 1, 0)),
            ({"pytest": PASSED}, 2, (1, 1, 0)),
        ]
        for number, (files, status, counts) in enumerate(table):
            with self.subTest(files=files, status=status):
                folder = self.folder / str(number)
                folder.mkdir()
                for name, cases in files.items():
                    text = f"<testsuites><testsuite>{cases}</testsuite></testsuites>"
                    (folder / f"{name}.xml").write_text(text)
                self.assertEqual(sum_results.count_part(folder, status), Counts(*counts))

    def test_the_table_and_the_exit_status(self) -> None:
        lint, check = Ended("lint", 0, 61.2, 90), Ended("check", 0, 3.0, None)
        for parts, bar, reasons, status, expected in [
            ([], None, {}, 1, []),
            ([lint, Ended("asan", 1, 1.0, 5)], None, {}, 1, []),
            (
                [lint, check],
                120,
                {},
                0,
                [
                    "",
                    "part        seconds   budget   passed   failed  skipped",
                    "lint             61       90        1        0        0",
                    "check             3                 1        0        0",
                    "sum              64       90",
                    "elapsed         100      120",
                    "2 passed, 0 failed, 0 skipped",
                ],
            ),
            # A part that takes longer than its budget fails; a run longer than its bar does not.
            ([Ended("asan", 0, 5.0, 5)], None, {}, 0, []),
            (
                [Ended("asan", 0, 5.0, 4)],
                99,
                {"torch": "it cannot be had"},
                1,
                [
                    "asan              5        4        1        1        0  took longer than its"
                    " budget",
                    "torch       NOT RUN: it cannot be had",
                    "elapsed         100       99  longer than the bar",
                    "1 passed, 1 failed, 0 skipped",
                ],
            ),
            ([lint], 99, {}, 0, []),
        ]:
            with self.subTest(parts=parts):
                said = io.StringIO()
                with contextlib.redirect_stdout(said):
                    found = sum_results.show(self.folder, parts, 100.4, bar, reasons)
                self.assertEqual(found, status)
                lines = said.getvalue().splitlines()
                self.assertEqual([line for line in lines if line in expected], expected)
