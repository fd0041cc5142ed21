"""receipt.py must notice other sources, failures and runs that did not end."""

import json
import tempfile
import unittest
from pathlib import Path

import receipt


class Receipts(unittest.TestCase):
    """In a tree of their own."""

    def setUp(self) -> None:
        """One source, and a receipt for it."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.source = self.root / "src/backends/cuda/kernel.h"
        self.source.parent.mkdir(parents=True)
        self.source.write_text("first")
        self.receipt, self.excuse = self.root / "cuda.json", self.root / "UNVERIFIED"
        self.write(0)

    def write(self, failed: int) -> None:
        """A receipt of so many failures."""
        runs = {"unit": {"passed": 7, "failed": 0}, "device": {"passed": 3, "failed": failed}}
        held = {"sources": receipt.digest(self.root), "runs": runs, "failed": failed}
        self.receipt.write_text(json.dumps(held))

    def complaint(self) -> str:
        """What is said of it."""
        return receipt.complaint(self.receipt, self.excuse, self.root)

    def test_one_of_these_sources_is_taken(self) -> None:
        """And of no others."""
        self.assertEqual(self.complaint(), "")
        self.source.write_text("second")
        self.assertIn("others than those of cuda.json", self.complaint())

    def test_failures_and_absence_are_told(self) -> None:
        """Whatever the sources."""
        self.write(2)
        self.assertIn("cuda.json tells of failed tests (2 in device)", self.complaint())
        self.receipt.unlink()
        self.assertIn("There is no cuda.json", self.complaint())

    def test_an_excuse_needs_words(self) -> None:
        """An empty file is none."""
        self.source.write_text("second")
        self.excuse.write_text("\n")
        self.assertNotEqual(self.complaint(), "")
        self.excuse.write_text("no GPU today\n")
        self.assertEqual(self.complaint(), "")

    def test_no_words_excuse_failures(self) -> None:
        """They are for sources that no GPU has seen, or for want of a receipt."""
        self.write(1)
        self.excuse.write_text("mended since\n")
        self.assertIn("which receipts/UNVERIFIED cannot excuse", self.complaint())
        self.source.write_text("second")
        self.assertIn("(1 in device)", self.complaint())
        self.receipt.unlink()
        self.assertEqual(self.complaint(), "")

    def test_a_run_that_did_not_end_has_failed(self) -> None:
        """As when a kernel's fault ends the program."""
        self.expect("[  PASSED  ] 7 tests.\n", 7, 0)
        self.expect("[  PASSED  ] 6 tests.\n[  FAILED  ] 1 test, listed\n", 6, 1)
        self.expect("[ RUN      ] Far.Away\n", 0, 1)
        self.expect("", 0, 1)

    def test_a_run_that_ends_badly_has_a_failure(self) -> None:
        """Whatever its tests and its sanitizer say; what they counted is not counted twice."""
        passed = "[  PASSED  ] 12 tests.\n"
        self.expect(f"{passed}===== ERROR SUMMARY: 5 errors\n== ended with 9\n", 12, 5)
        self.expect(f"{passed}===== ERROR SUMMARY: 0 errors\n", 12, 0)
        warned = f"{passed}SUMMARY: 16 hazards displayed (0 errors, 16 warnings)\n"
        self.expect(warned, 12, 0)
        self.expect(f"{warned}== ended with 9\n", 12, 1)
        self.expect(f"{passed}== ended with 139\n", 12, 1)
        self.expect(f"{passed}[  FAILED  ] 2 tests, listed\n== ended with 1\n", 12, 2)

    def test_what_was_skipped_is_told(self) -> None:
        """As what takes two GPUs is on a machine with one."""
        text = "[  PASSED  ] 21 tests.\n[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] On.Two\n"
        self.assertEqual(receipt.counts(text), {"passed": 21, "failed": 0, "skipped": 1})

    def expect(self, text: str, passed: int, failed: int) -> None:
        """What a run's output comes to."""
        found = receipt.counts(text)
        self.assertEqual((found["passed"], found["failed"]), (passed, failed), text)


if __name__ == "__main__":
    unittest.main()
