"""receipt.py must notice other sources, failures and runs that did not end."""

import json
import tempfile
import unittest
from pathlib import Path

import receipt

PASSED = "[  PASSED  ] 12 tests.\n"
WARNED = f"{PASSED}SUMMARY: 16 hazards displayed (0 errors, 16 warnings)\n"
SKIPPED = "[  SKIPPED ] 1 test, listed below:\n[  SKIPPED ] On.Two\n"


class Receipts(unittest.TestCase):
    """Receipts in a temporary tree."""

    def test_what_is_said_of_a_receipt(self) -> None:
        """For each row: failures (None: no receipt), whether sources changed, the excuse."""
        root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        source, held, excuse = root / "src/core/kernel.h", root / "cuda.json", root / "UNVERIFIED"
        source.parent.mkdir(parents=True)
        others, failed, none = "others than those of cuda.json", "(2 in device), which", "There is"
        for failures, is_other, words, sentence in [
            (0, False, "", ""),
            (0, True, "", others),
            (0, True, "\n", others),  # an empty excuse is none
            (0, True, "no GPU today\n", ""),
            (2, False, "", failed),
            (2, False, "mended since\n", failed),  # no words excuse failures
            (2, True, "mended since\n", failed),
            (None, True, "", none),
            (None, True, "mended since\n", ""),
        ]:
            with self.subTest(failures=failures, is_other=is_other, words=words):
                source.write_text("first")
                runs = {"unit": {"failed": 0}, "device": {"failed": failures}}
                seen = {"sources": receipt.digest(root), "runs": runs, "failed": failures}
                held.unlink(missing_ok=True)
                if failures is not None:
                    held.write_text(json.dumps(seen))
                source.write_text("second" if is_other else "first")
                excuse.write_text(words)
                said = receipt.complaint(held, excuse, root)
                self.assertIn(sentence, said)
                self.assertEqual(bool(said), bool(sentence))

    def test_what_a_run_comes_to(self) -> None:
        """Passed, failed and skipped tests; one that did not end, or ended badly, has failed."""
        for text, passed, failed, skipped in [
            (PASSED, 12, 0, 0),
            (f"{PASSED}[  FAILED  ] 1 test, listed\n", 12, 1, 0),
            ("[ RUN      ] Far.Away\n", 0, 1, 0),
            ("", 0, 1, 0),
            (f"{PASSED}===== ERROR SUMMARY: 5 errors\n== ended with 9\n", 12, 5, 0),
            (f"{PASSED}===== ERROR SUMMARY: 0 errors\n", 12, 0, 0),
            (WARNED, 12, 0, 0),
            (f"{WARNED}== ended with 9\n", 12, 1, 0),
            (f"{PASSED}[  FAILED  ] 2 tests, listed\n== ended with 1\n", 12, 2, 0),
            (PASSED + SKIPPED, 12, 0, 1),
        ]:
            wanted = {"passed": passed, "failed": failed, "skipped": skipped}
            self.assertEqual(receipt.counts(text), wanted, text)
