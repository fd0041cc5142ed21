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


class Results(unittest.TestCase):
    """Folders as ctest and the test programs leave them."""

    def setUp(self) -> None:
        """An empty folder for each test."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def write(self, name: str, *cases: str) -> None:
        """A JUnit file."""
        path = self.folder / f"{name}.xml"
        path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")

    def test_programs_count_their_own_cases(self) -> None:
        """ctest's entry of a program that wrote its cases is not a case of its own."""
        self.write("test_core", PASSED, SKIPPED, PASSED)
        self.write("ctest", PASSED.format("test_core"), PASSED.format("consumers"))
        self.assertEqual(sum_results.count_part(self.folder, 0), Counts(3, 0, 1))

    def test_a_program_that_crashed(self) -> None:
        """It leaves no file; ctest's entry stands for it."""
        self.write("ctest", FAILED.format("test_core"), PASSED.format("consumers"))
        self.assertEqual(sum_results.count_part(self.folder, 8), Counts(1, 1, 0))

    def test_a_program_that_was_not_built(self) -> None:
        """ctest calls it skipped; it is a failure."""
        self.write("ctest", PASSED.format("consumers"), NOT_BUILT.format("test_core"))
        self.assertEqual(sum_results.count_part(self.folder, 8), Counts(1, 1, 0))

    def test_a_program_that_failed_after_its_cases(self) -> None:
        """A leak is found when all cases have passed."""
        self.write("test_core", PASSED)
        self.write("ctest", FAILED.format("test_core"))
        self.assertEqual(sum_results.count_part(self.folder, 8), Counts(1, 1, 0))

    def test_a_program_whose_filter_met_nothing(self) -> None:
        """It ends well, and is a failure all the same."""
        self.write("test_core")
        self.write("ctest", PASSED.format("test_core"))
        self.assertEqual(sum_results.count_part(self.folder, 0), Counts(0, 1, 0))

    def test_parts_without_cases(self) -> None:
        """A part that counts nothing is one case; one that failed has at least one failure."""
        self.assertEqual(sum_results.count_part(self.folder, 0), Counts(1, 0, 0))
        self.assertEqual(sum_results.count_part(self.folder, 1), Counts(0, 1, 0))
        self.write("pytest", PASSED)
        self.assertEqual(sum_results.count_part(self.folder, 2), Counts(1, 1, 0))

    def show(self, *parts: Ended, bar: int | None = None) -> tuple[list[str], int]:
        """The lines that are printed after 100 seconds, and the exit status."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = sum_results.show(self.folder, list(parts), 100.4, bar)
        return said.getvalue().splitlines(), status

    def test_exit_status(self) -> None:
        """0 only when something passed and nothing failed."""
        good, bad = Ended("lint", 0, 1.0, 5), Ended("asan", 1, 1.0, 5)
        for parts, expected in [([], 1), ([good], 0), ([good, bad], 1)]:
            with self.subTest(parts=parts):
                self.assertEqual(self.show(*parts)[1], expected)

    def test_a_part_that_takes_too_long_fails(self) -> None:
        """By a second; one without a budget may take what it needs."""
        late = (
            "asan              5        4        1        1        0  took longer than its budget"
        )
        lines, status = self.show(Ended("asan", 0, 5.0, 4))
        self.assertEqual((lines[2], lines[-1], status), (late, "1 passed, 1 failed, 0 skipped", 1))
        for budget in (5, None):
            self.assertEqual(self.show(Ended("asan", 0, 5.0, budget))[1], 0)

    def test_the_table(self) -> None:
        """Seconds, budgets and cases, their sums, and the whole beside its bar."""
        parts = [Ended("lint", 0, 61.2, 90), Ended("check", 0, 3.0, None)]
        lines, _ = self.show(*parts, bar=120)
        self.assertEqual(
            lines,
            [
                "",
                "part        seconds   budget   passed   failed  skipped",
                "lint             61       90        1        0        0",
                "check             3                 1        0        0",
                "sum              64       90",
                "elapsed         100      120",
                "2 passed, 0 failed, 0 skipped",
            ],
        )

    def test_a_run_that_takes_longer_than_its_bar(self) -> None:
        """Is told so, and does not fail."""
        lines, status = self.show(Ended("lint", 0, 1.0, 5), bar=99)
        self.assertIn("elapsed         100       99  longer than the bar", lines)
        self.assertEqual(status, 0)

    def test_what_did_not_run_is_told(self) -> None:
        """With its reason, between those that ran and their sums."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            reasons = {"torch": "it cannot be had"}
            sum_results.show(self.folder, [Ended("lint", 0, 61.2, 90)], 100.4, 120, reasons)
        lines = said.getvalue().splitlines()
        self.assertEqual(lines[3], "torch       NOT RUN: it cannot be had")
        self.assertEqual(lines[-1], "1 passed, 0 failed, 0 skipped")


if __name__ == "__main__":
    unittest.main()
