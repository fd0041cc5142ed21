"""mutants.py must count independent checks, and tell missed mutants and false alarms."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import mutant_runs
import mutants
import watch
from mutant_list import Mutant
from mutant_runs import Failure, Suite, Verdict

WRONG = Mutant(1, "core/last-key", "The last key is lost.", False, "src/core/mask.h", [])
HARMLESS = WRONG._replace(name="plain/order", is_harmless=True)
RANDOM = Failure("test_conformance", "Conformance", "EverySeriesStaysWithinItsBound", "")
FLOAT = Failure("test_conformance", "Kinds/FloatConformance", "StaysWithin/float16_gauss", "")
MERGE = Failure("test_conformance", "Merge", "Matches", "")
OF_A_KERNEL = Failure(mutant_runs.OF_THE_GPU, "Sm80Forward", "SplitsAndSharedTiles", "")
CATALOG = Failure(mutant_runs.OF_THE_GPU, "CatalogTest", "QuotesPathsInJson", "")
DRIVER = Failure(mutant_runs.OF_THE_GPU, "CudaDriver", "OpensOne", "")
LIST = Failure("test_conformance", "List", "HasEverySeries", "")
MASK = Failure("test_core", "Band", "CoversEveryTile", "mask")
BLOCKS = MASK._replace(suite="BlockMask")
CRASHED = """[ RUN      ] A.One
[  FAILED  ] A.One (3 ms)
[ RUN      ] A.Two
[       OK ] A.Two (3 ms)
[ RUN      ] A.Three
"""


class Checks(unittest.TestCase):
    """What counts as one check, and what becomes of a mutant."""

    def test_names(self) -> None:
        """Parameters and types are stripped; a test of core belongs to a word."""
        for suite, test, bare in [
            ("Kinds/Float", "Fits/1", ("Float", "Fits")),
            ("All/Softmax/1", "Merges", ("Softmax", "Merges")),
        ]:
            self.assertEqual(mutant_runs.bare_name(suite, test), bare)
        for file in ("core/mask_test.cpp", "core/block_mask_test.cpp", "mask_limits_test.cpp"):
            self.assertEqual(mutant_runs.word_of(file, ["base", "mask", "softmax"]), "mask")

    def test_reports_and_broken_output(self) -> None:
        """Failed tests alone are failures; a crash is named beside those that had failed before."""
        tests = [{"name": "Fits", "file": "a/mask_test.cpp"}, {"name": "Covers", "failures": [{}]}]
        report = json.dumps({"testsuites": [{"name": "Band", "testsuite": tests}]})
        found = mutant_runs.read_report("test_core", report, ["mask"])
        self.assertEqual([each.test for each in found], ["Covers"])
        broken = mutant_runs.read_broken_output("test_api", CRASHED, "crash")
        self.assertEqual(Verdict(WRONG, broken).endings, ["A.One", "A.Three (crash)"])
        random = Verdict(WRONG, [RANDOM, FLOAT._replace(how="crash")])
        self.assertEqual(random.endings, ["random calls (crash)"])

    def test_verdicts(self) -> None:
        """Two checks catch, if one compares results. Nothing may notice what is harmless."""
        for mutant, failures, checks, is_ok in [
            (WRONG, [], 0, False),
            (WRONG, [RANDOM, FLOAT], 1, False),
            (WRONG, [RANDOM, MERGE], 2, True),
            (WRONG, [MASK, BLOCKS], 1, False),
            (WRONG, [MASK, MERGE], 2, True),
            (WRONG, [MASK, LIST], 2, False),
            (WRONG, [OF_A_KERNEL, CATALOG], 2, True),
            (WRONG, [DRIVER, CATALOG], 2, False),
            (WRONG._replace(caught_by=frozenset({"A.B"})), [RANDOM, MERGE], 2, False),
            (HARMLESS, [], 0, True),
            (HARMLESS, [RANDOM], 1, False),
        ]:
            with self.subTest(failures=failures):
                verdict = Verdict(mutant, failures)
                self.assertEqual((len(verdict.checks), verdict.ok), (checks, is_ok))

    def test_summary(self) -> None:
        self.assertEqual(mutants.summary([])[1], 1)
        caught, missed = Verdict(WRONG, [RANDOM, MERGE]), Verdict(WRONG, [RANDOM])
        alone, alarm = Verdict(HARMLESS, []), Verdict(HARMLESS, [RANDOM])
        for verdicts, harmless, wrong, status in [
            ([caught, alone], "1 harmless left alone, 0 false alarms", "1 caught, 0 missed", 0),
            ([caught, alarm], "0 harmless left alone, 1 false alarms", "1 caught, 0 missed", 1),
            ([missed, alone], "1 harmless left alone, 0 false alarms", "0 caught, 1 missed", 1),
        ]:
            self.assertEqual(mutants.summary(verdicts), ([harmless, wrong], status))
        self.assertIn("FALSE ALARM", mutants.row_of(alarm))
        self.assertIn("MISSED: only random calls", mutants.row_of(missed))


# A test program that prints and reports as gtest does. In Merge.Matches mutant 1 fails, 2 crashes,
# 3 loops for ever, 4 sleeps for a minute, and 5 sleeps for less than a second and passes.
PROGRAM = """#!/bin/sh
echo "[ RUN      ] Merge.Matches"
failures=
case "$TILEWISE_MUTANT${2#*.\\*}" in
  1) failures=', "failures": [{}]' ;;
  2) kill -SEGV $$ ;;
  3) while :; do :; done ;;
  4) exec sleep 60 ;;
  5) sleep 0.8 ;;
esac
{
  echo '{"testsuites": [{"name": "Merge", "time": "0.5s",'
  echo '"testsuite": [{"name": "Matches"'"$failures"'}]}]}'
} >"${1#--gtest_output=json:}"
"""
# One that needs all families of random calls to notice.
DEEP = """#!/bin/sh
failures=', "failures": [{}]'
[ "$TILEWISE_MUTANT" != 1 ] || [ -n "$TILEWISE_CASE" ] || found=$failures
{
  echo '{"testsuites": [{"name": "Conformance", "time": "0.1s",'
  echo '"testsuite": [{"name": "Every"'"$found"'}]}]}'
} >"${1#--gtest_output=json:}"
"""
MATCHES = {"Merge.Matches": ["Merge.Matches"]}


class Programs(unittest.TestCase):
    """Running the programs of a build that has two of them."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "build"
        (self.folder / "tests").mkdir(parents=True)
        for name in ("test_conformance", "test_api", "test_oracle"):
            self.write(name, PROGRAM)
            (self.folder / "tests" / name).chmod(0o755)
        self.runner = mutant_runs.Runner(self.folder, self.folder, "plain")

    def write(self, name: str, text: str) -> None:
        (self.folder / "tests" / name).write_text(text)

    def test_programs_and_suites(self) -> None:
        """Programs in LEFT_OUT do not run; suites are in order of their time."""
        self.assertEqual(self.runner.programs, ["test_api", "test_conformance"])
        self.write("test_api", PROGRAM.replace("0.5s", "0.7s"))
        self.assertEqual(self.runner.learn(), [])
        found = [(each.program, each.seconds) for each in self.runner.suites]
        self.assertEqual(found, [("test_conformance", 0.5), ("test_api", 0.7)])
        self.assertEqual(self.runner.suites[0].tests, MATCHES)

    def test_failure_crash_and_hang(self) -> None:
        """All three are failures; a program that only waits for another one is none."""
        suite = Suite("test_api", "Merge", -1.45, MATCHES)  # half a second at most
        for number, expected in enumerate([[], [""], ["crash"], ["hang"], ["hang"], []]):
            with self.subTest(number=number), mock.patch.object(watch, "ASLEEP", 1.0):
                found = self.runner.run(suite, frozenset(MATCHES), number, mutant_runs.FIRST)
                self.assertEqual([each.how for each in found], expected)

    def test_limits_know_how_many_processors_a_program_keeps_busy(self) -> None:
        """gtest reports wall time, which is scaled by the program's processor time."""
        tests = [{"name": "Matches"}]
        report = json.dumps({"testsuites": [{"name": "A", "time": "1s", "testsuite": tests}]})
        for spent, expected in [(0.4, 1.0), (2.0, 2.0)]:
            ended = mutant_runs.Ended(report, "", "", spent)
            found = mutant_runs.read_suites("test_api", ended, [])
            self.assertEqual([each.seconds for each in found], [expected])

    def test_when_runs_end(self) -> None:
        """Once enough checks have failed, unless all are wanted; a failed check runs only once."""
        self.write("test_api", PROGRAM.replace("0.5s", "0.7s"))
        self.runner.learn()
        for mutant, run_all, enough, failures in [
            (WRONG, False, 1, 1),
            (WRONG, True, 1, 2),
            (HARMLESS, False, 1, 2),
            (WRONG, False, 2, 1),
        ]:
            with mock.patch.object(mutant_runs, "ENOUGH", enough):
                verdict = self.runner.examine(mutant, run_all)
                self.assertEqual(len(verdict.failures), failures)

    def test_the_checks_of_the_list_alone_are_asked(self) -> None:
        """Checks that caught_by names; each of them has to notice."""
        self.runner.suites = [
            Suite("test_api", "Merge", 0.5, {**MATCHES, "Merge.Other": ["Merge.Other"]}),
            Suite("test_api", "Never", 0.5, {"Never.Asked": ["Never.Asked"]}),
        ]
        asked = WRONG._replace(caught_by=frozenset({*MATCHES, "random calls"}))
        with mock.patch.object(self.runner, "run", return_value=[MERGE]) as run:
            self.assertFalse(self.runner.examine(asked, run_all=False).ok)
        self.assertEqual([call.args[1] for call in run.call_args_list], [frozenset(MATCHES)])
        self.assertEqual(self.runner.suites[0].chosen(frozenset(MATCHES)), "Merge.Matches")

    def test_all_random_calls_are_made_before_a_mutant_is_missed(self) -> None:
        """First those of one family; learn() reports calls that fail without a mutant."""
        self.write("test_conformance", DEEP)
        self.runner.learn()
        verdict = self.runner.examine(WRONG, run_all=False)
        self.assertEqual((verdict.checks, verdict.ok), (["Merge.Matches", "random calls"], True))
        self.write("test_conformance", DEEP.replace("!= 1 ]", "!= 0 ]"))
        self.runner.suites = []
        self.assertEqual([each.suite for each in self.runner.learn()], ["Conformance"])

    def test_the_whole_of_it(self) -> None:
        """The last line, and a build in which the tests fail anyway."""
        arguments = ["--no-build", "--build", str(self.folder.parent)]
        said = io.StringIO()
        with (
            mock.patch.object(mutants, "read_list", return_value=[WRONG]),
            contextlib.redirect_stdout(said),
        ):
            self.assertEqual(mutants.main(arguments), 1)
            self.assertEqual(said.getvalue().splitlines()[-1], "0 caught, 1 missed")
            self.write("test_api", PROGRAM.replace("$TILEWISE_MUTANT${2#*.\\*}", "1"))
            with self.assertRaises(SystemExit):
                mutants.main(arguments)
