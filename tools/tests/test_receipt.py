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
        held = {"sources": receipt.digest(self.root), "failed": failed}
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
        self.assertIn("2 failures", self.complaint())
        self.receipt.unlink()
        self.assertIn("There is no cuda.json", self.complaint())

    def test_an_excuse_needs_words(self) -> None:
        """An empty file is none."""
        self.source.write_text("second")
        self.excuse.write_text("\n")
        self.assertNotEqual(self.complaint(), "")
        self.excuse.write_text("no GPU today\n")
        self.assertEqual(self.complaint(), "")

    def test_a_run_that_did_not_end_has_failed(self) -> None:
        """As when a kernel's fault ends the program."""
        self.assertEqual(receipt.counts("[  PASSED  ] 7 tests.\n"), (7, 0))
        self.assertEqual(
            receipt.counts("[  PASSED  ] 6 tests.\n[  FAILED  ] 1 test, listed\n"), (6, 1)
        )
        self.assertEqual(receipt.counts("[ RUN      ] Far.Away\n"), (0, 1))

    def test_a_run_that_ends_badly_has_a_failure(self) -> None:
        """A sanitizer's errors count, its warnings do not; a crash behind the last test does."""
        passed = "[  PASSED  ] 12 tests.\n"
        self.assertEqual(receipt.counts(f"{passed}===== ERROR SUMMARY: 5 errors\n"), (12, 5))
        self.assertEqual(receipt.counts(f"{passed}===== ERROR SUMMARY: 0 errors\n"), (12, 0))
        warned = "SUMMARY: 16 hazards displayed (0 errors, 16 warnings)\n== ended with 9\n"
        self.assertEqual(receipt.counts(passed + warned), (12, 0))
        self.assertEqual(receipt.counts(f"{passed}== ended with 139\n"), (12, 1))


if __name__ == "__main__":
    unittest.main()
