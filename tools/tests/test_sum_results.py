"""sum_results.py must count each case once and lose no failure."""

import tempfile
import unittest
from pathlib import Path

import sum_results
from sum_results import Counts

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

    def test_parts_without_cases(self) -> None:
        """A part that counts nothing is one case; one that failed has at least one failure."""
        self.assertEqual(sum_results.count_part(self.folder, 0), Counts(1, 0, 0))
        self.assertEqual(sum_results.count_part(self.folder, 1), Counts(0, 1, 0))
        self.write("pytest", PASSED)
        self.assertEqual(sum_results.count_part(self.folder, 2), Counts(1, 1, 0))

    def test_exit_status(self) -> None:
        """0 only when something passed and nothing failed."""
        parts = self.folder / "parts.txt"
        for text, status in [("", 1), ("lint 0\n", 0), ("lint 0\nasan 1\n", 1)]:
            with self.subTest(text=text):
                parts.write_text(text)
                self.assertEqual(sum_results.main([str(self.folder)]), status)


if __name__ == "__main__":
    unittest.main()
