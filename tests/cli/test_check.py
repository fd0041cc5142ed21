"""`tilewise check`: what it prints, how it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import json
import unittest

from program import ProgramTest, start

SMALL = ("check", "--tier", "smoke", "--case", "random/gauss")


class CheckTest(ProgramTest):
    def report(self, *words: object) -> dict[str, object]:
        result = start(*words, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)  # type: ignore[no-any-return]

    def test_every_type_is_exact(self) -> None:
        report = self.report(*SMALL)
        self.assertTrue(report["exact"])
        series = report["series"]
        assert isinstance(series, list)
        self.assertEqual(len(series), 6)
        for each in series:
            self.assertGreater(each["cases"], 2, each["name"])
            self.assertGreater(each["numbers"], 1000, each["name"])
            self.assertEqual((each["failed"], each["declined"]), (0, 0))
            self.assertTrue(0 < each["worst"] <= 1, each)
            self.assertTrue(0 < each["relative"] < 0.1, each)

    def test_the_table_has_families_and_types(self) -> None:
        result = start(*SMALL, "--dtype", "float32")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"family +float64 +float32")
        self.assertRegex(result.stdout, r"gauss +- +0\.\d\d")
        self.assertIn("exact: ", result.stdout)
        self.assertIn("100 %", result.stderr)

    def test_a_case_is_replayed(self) -> None:
        words = ("check", "--case", "museum/gauss/float32", "--seed", "17")
        once, twice = start(*words), start(*words)
        self.assertEqual(once.returncode, 0, once.stderr)
        self.assertEqual(once.stdout, twice.stdout)
        self.assertIn("seed=17: batch=", once.stdout)
        self.assertIn("exact: ", once.stdout)

    def test_the_list(self) -> None:
        result = start("check", "--list", "--json")
        rows = json.loads(result.stdout)
        self.assertEqual(len(rows), 138)
        for row in rows:
            self.assertLess(0, row["cases"]["smoke"])
            self.assertLessEqual(row["cases"]["smoke"], row["cases"]["full"])
        self.assertIn("museum/hub/bfloat16", start("check", "--list").stdout)

    def test_a_journal_is_resumed(self) -> None:
        journal = self.folder / "check.jsonl"
        first = self.report(*SMALL, "--resume", journal)
        lines = [line for line in journal.read_text().splitlines() if line]
        self.assertEqual(len(lines), 7)  # what is checked, and six series
        # One series is lost, one was being written when the program stopped.
        changed = json.loads(lines[2])
        changed["worst"] = 0.125
        journal.write_text("\n".join([lines[0], lines[1], json.dumps(changed), lines[3][:40]]))
        second = self.report(*SMALL, "--resume", journal)
        kept = {each["name"]: each for each in second["series"]}  # type: ignore[attr-defined]
        self.assertEqual(kept[changed["name"]]["worst"], 0.125)
        self.assertEqual(
            [each["cases"] for each in first["series"]],  # type: ignore[attr-defined]
            [each["cases"] for each in second["series"]],  # type: ignore[attr-defined]
        )
        # Other kernels than those that the journal speaks of.
        plain = start(*SMALL, "--resume", journal, TILEWISE_CUDA_KERNELS="plain")
        self.assert_refused(plain, 2, "no journal of this check")
        other = start("check", "--tier", "quick", "--case", "random/gauss", "--resume", journal)
        self.assert_refused(other, 2, "no journal of this check")

    def test_refusals(self) -> None:
        self.assert_refused(start("check", "--case", "random/gaus"), 2, "did you mean")
        self.assert_refused(start("check", "--dtype", "float23"), 2, "did you mean 'float32'")
        self.assert_refused(start("check", "--tier", "quik"), 2, "did you mean 'quick'")
        self.assert_refused(start("check", "--seed", "3"), 2, "whole name of a case")
        self.assert_refused(start("check", "--backend", "plane"), 2, "there are: ")
        other = ("check", "--case", "random/gauss/float32", "--dtype", "float16")
        self.assert_refused(start(*other), 2, "no series is all that")
        for seed in ("-1", "12abc", "99999999999999999999"):
            words = ("check", "--case", "random/gauss/float32", f"--seed={seed}")
            self.assert_refused(start(*words), 2, "cannot be")
        both = ("check", "--case", "random/gauss/float32", "--seed", "1", "--resume", "x")
        self.assert_refused(start(*both), 2, "leave one out")
        nowhere = (*SMALL, "--resume", self.folder / "no" / "file")
        self.assert_refused(start(*nowhere), 2, "cannot be written")


if __name__ == "__main__":
    unittest.main()
