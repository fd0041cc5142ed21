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


class Checks(unittest.TestCase):
    """What counts as one check."""

    def test_parameters_and_types_are_stripped(self) -> None:
        """Of values before, of types behind the suite's name."""
        self.assertEqual(mutant_runs.bare_name("Kinds/Float", "Fits/1"), ("Float", "Fits"))
        self.assertEqual(mutant_runs.bare_name("Softmax/0", "Merges"), ("Softmax", "Merges"))
        self.assertEqual(mutant_runs.bare_name("All/Softmax/1", "Merges"), ("Softmax", "Merges"))

    def test_random_calls_are_one_check(self) -> None:
        """Whatever their type and family."""
        self.assertEqual(len(Verdict(WRONG, [RANDOM, FLOAT]).checks), 1)

    def test_the_tests_of_a_word_are_one_check(self) -> None:
        """Of mask: the band's, the block mask's, those near the limits."""
        words = ["base", "mask", "softmax"]
        for file in ("core/mask_test.cpp", "core/block_mask_test.cpp", "mask_limits_test.cpp"):
            self.assertEqual(mutant_runs.word_of(file, words), "mask")
        blocks = MASK._replace(suite="BlockMask")
        self.assertEqual(len(Verdict(WRONG, [MASK, blocks]).checks), 1)
        self.assertEqual(len(Verdict(WRONG, [MASK, RANDOM, MERGE]).checks), 3)

    def test_a_report_of_gtest(self) -> None:
        """Only failed tests of it are failures."""
        tests = [{"name": "Fits", "file": "a/mask_test.cpp"}, {"name": "Covers", "failures": [{}]}]
        report = json.dumps({"testsuites": [{"name": "Band", "testsuite": tests}]})
        found = mutant_runs.read_report("test_core", report, ["mask"])
        self.assertEqual([each.test for each in found], ["Covers"])

    def test_a_crash_is_named(self) -> None:
        """With the test in which it happened, beside those that had failed before."""
        output = (
            "[ RUN      ] A.One\n[  FAILED  ] A.One (3 ms)\n"
            "[ RUN      ] A.Two\n[       OK ] A.Two (3 ms)\n[ RUN      ] A.Three\n"
        )
        found = mutant_runs.read_broken_output("test_api", output, "crash")
        self.assertEqual([each.test for each in found], ["One", "Three"])
        self.assertEqual(Verdict(WRONG, found).endings, ["A.One", "A.Three (crash)"])
        crashed = FLOAT._replace(how="crash")
        self.assertEqual(Verdict(WRONG, [RANDOM, crashed]).endings, ["random calls (crash)"])


class Verdicts(unittest.TestCase):
    """Caught, missed, alarmed."""

    def test_an_empty_list_fails(self) -> None:
        """Nothing examined proves nothing."""
        self.assertEqual(mutants.summary([])[1], 1)

    def test_one_check_is_a_miss(self) -> None:
        """Two are needed."""
        for failures, caught in [([], 0), ([RANDOM, FLOAT], 0), ([RANDOM, MERGE], 1)]:
            with self.subTest(failures=failures):
                lines, status = mutants.summary([Verdict(WRONG, failures)])
                self.assertEqual(lines[-1], f"{caught} caught, {1 - caught} missed")
                self.assertEqual(status, 1 - caught)

    def test_one_of_two_compares_results(self) -> None:
        """Two that look at other things, in the GPU's program too, are a miss."""
        for failures, is_caught in [
            ([MASK, MERGE], True),
            ([MASK, LIST], False),
            ([OF_A_KERNEL, CATALOG], True),
            ([DRIVER, CATALOG], False),
        ]:
            with self.subTest(failures=failures):
                self.assertEqual(Verdict(WRONG, failures).ok, is_caught)

    def test_a_harmless_one_that_is_noticed_is_a_false_alarm(self) -> None:
        """Even by one check, and though all others were caught."""
        caught = Verdict(WRONG, [RANDOM, MERGE])
        lines, status = mutants.summary([caught, Verdict(HARMLESS, [])])
        self.assertEqual((lines[0], status), ("1 harmless left alone, 0 false alarms", 0))
        lines, status = mutants.summary([caught, Verdict(HARMLESS, [RANDOM])])
        self.assertEqual((lines[0], status), ("0 harmless left alone, 1 false alarms", 1))
        self.assertEqual(lines[-1], "1 caught, 0 missed")
        self.assertIn("FALSE ALARM", mutants.row_of(Verdict(HARMLESS, [RANDOM])))
        self.assertIn("MISSED: only random calls", mutants.row_of(Verdict(WRONG, [RANDOM])))


# A test program: fails in Merge.Matches under 1, crashes there under 2, turns in circles under 3,
# waits for nothing under 4, for another program under 5; prints and reports as gtest does.
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
    """Running them."""

    def setUp(self) -> None:
        """A build with two programs."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name) / "build"
        (self.folder / "tests").mkdir(parents=True)
        for name in ("test_conformance", "test_api", "test_oracle"):
            program = self.folder / "tests" / name
            program.write_text(PROGRAM)
            program.chmod(0o755)
        self.runner = mutant_runs.Runner(self.folder, self.folder, "plain")

    def test_programs_and_suites(self) -> None:
        """Nothing that does not see the library; the quickest suite first."""
        self.assertEqual(self.runner.programs, ["test_api", "test_conformance"])
        slow = PROGRAM.replace("0.5s", "0.7s")
        (self.folder / "tests/test_api").write_text(slow)
        self.assertEqual(self.runner.learn(), [])
        found = [(each.program, each.seconds) for each in self.runner.suites]
        self.assertEqual(found, [("test_conformance", 0.5), ("test_api", 0.7)])
        self.assertEqual(self.runner.suites[0].tests, MATCHES)

    def test_failure_crash_and_hang(self) -> None:
        """All three are failures, and the last two have a name."""
        suite = Suite("test_api", "Merge", -1.45, MATCHES)  # half a second at most
        for number, expected in enumerate([[], [""], ["crash"], ["hang"], ["hang"]]):
            with self.subTest(number=number), mock.patch.object(watch, "ASLEEP", 1.0):
                found = self.runner.run(suite, frozenset(MATCHES), number, mutant_runs.FIRST)
                self.assertEqual([each.how for each in found], expected)

    def test_a_program_that_others_keep_waiting_does_not_hang(self) -> None:
        """Only processor time counts towards the limit."""
        suite = Suite("test_api", "Merge", -1.45, MATCHES)
        self.assertEqual(self.runner.run(suite, frozenset(MATCHES), 5, mutant_runs.FIRST), [])

    def test_limits_know_how_many_processors_a_program_keeps_busy(self) -> None:
        """gtest tells wall time; two seconds of processor time in one of wall are two."""
        tests = [{"name": "Matches"}]
        report = json.dumps({"testsuites": [{"name": "A", "time": "1s", "testsuite": tests}]})
        for spent, expected in [(0.4, 1.0), (2.0, 2.0)]:
            ended = mutant_runs.Ended(report, "", "", spent)
            found = mutant_runs.read_suites("test_api", ended, [])
            self.assertEqual([each.seconds for each in found], [expected])

    def test_enough_checks_end_the_runs(self) -> None:
        """Unless all are wanted, or it is harmless."""
        self.runner.learn()
        with mock.patch.object(mutant_runs, "ENOUGH", 1):
            self.assertEqual(len(self.runner.examine(WRONG, run_all=False).failures), 1)
            self.assertEqual(len(self.runner.examine(WRONG, run_all=True).failures), 2)
            self.assertEqual(len(self.runner.examine(HARMLESS, run_all=False).failures), 2)

    def test_a_check_that_has_failed_is_not_asked_again(self) -> None:
        """A second suite of the same check would add nothing."""
        self.runner.learn()
        verdict = self.runner.examine(WRONG, run_all=False)
        self.assertEqual([each.program for each in verdict.failures], ["test_api"])
        self.assertFalse(verdict.ok)

    def test_the_checks_of_the_list_alone_are_asked(self) -> None:
        """By name, and each of them has to notice."""
        self.runner.suites = [
            Suite("test_api", "Merge", 0.5, {**MATCHES, "Merge.Other": ["Merge.Other"]}),
            Suite("test_api", "Never", 0.5, {"Never.Asked": ["Never.Asked"]}),
        ]
        asked = WRONG._replace(caught_by=frozenset({*MATCHES, "random calls"}))
        with mock.patch.object(self.runner, "run", return_value=[MERGE]) as run:
            verdict = self.runner.examine(asked, run_all=False)
        self.assertEqual([call.args[1] for call in run.call_args_list], [frozenset(MATCHES)])
        self.assertFalse(verdict.ok)
        self.assertEqual(self.runner.suites[0].chosen(frozenset(MATCHES)), "Merge.Matches")

    def test_all_random_calls_are_made_before_a_mutant_is_missed(self) -> None:
        """First those of one family, and the others when too few checks have failed."""
        (self.folder / "tests/test_conformance").write_text(DEEP)
        self.runner.learn()
        verdict = self.runner.examine(WRONG, run_all=False)
        self.assertEqual(verdict.checks, ["Merge.Matches", "random calls"])
        self.assertTrue(verdict.ok)

    def test_random_calls_that_fail_without_a_mutant(self) -> None:
        """Are told, of whatever family they are."""
        clean = DEEP.replace("!= 1 ]", "!= 0 ]")
        (self.folder / "tests/test_conformance").write_text(clean)
        self.assertEqual([each.suite for each in self.runner.learn()], ["Conformance"])

    def test_the_whole_of_it(self) -> None:
        """The last line, and a build in which the tests fail anyway."""
        arguments = ["--no-build", "--build", str(self.folder.parent)]
        with mock.patch.object(mutants, "read_list", return_value=[WRONG]):
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertEqual(mutants.main(arguments), 1)
            self.assertEqual(said.getvalue().splitlines()[-1], "0 caught, 1 missed")
            broken = PROGRAM.replace("$TILEWISE_MUTANT${2#*.\\*}", "1")
            (self.folder / "tests/test_api").write_text(broken)
            with contextlib.redirect_stdout(said), self.assertRaises(SystemExit):
                mutants.main(arguments)


if __name__ == "__main__":
    unittest.main()
