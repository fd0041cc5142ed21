"""mutants.py must count independent checks, and tell missed wounds and false alarms."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import mutants
import watch
from mutants import Failure, Verdict, Wound

HEADER = """
#define TW_WOUNDS(WOUND, SCAR)                        \\
  WOUND(kLastKey, "last-key", "The last key is lost.") \\
  WOUND(kLong, "long",                                \\
        "A sentence that is "                         \\
        "cut in two.")                                \\
  SCAR(kOrder, "order", "Tiles come in another order.")
enum class Wound { kNone, TW_WOUNDS(A, A) };
"""
WOUND = Wound("kLastKey", "last-key", "The last key is lost.", False)
SCAR = Wound("kOrder", "order", "Tiles come in another order.", True)
RANDOM = Failure("test_conformance", "Conformance", "EverySeriesStaysWithinItsBound", "")
FLOAT = Failure("test_conformance", "Kinds/FloatConformance", "StaysWithin/float16_gauss", "")
MERGE = Failure("test_conformance", "Merge", "Matches", "")
MASK = Failure("test_core", "Band", "CoversEveryTile", "mask")


class List(unittest.TestCase):
    """The rows in the header."""

    def test_rows_are_read(self) -> None:
        """With their kind, and sentences that the formatter cut."""
        wounds = mutants.read_wounds(HEADER)
        self.assertEqual([each.name for each in wounds], ["last-key", "long", "order"])
        self.assertEqual([each.is_scar for each in wounds], [False, False, True])
        self.assertEqual(wounds[1].sentence, "A sentence that is cut in two.")

    def test_the_project_s_own_list(self) -> None:
        """No name twice, none without a place in the sources, at least 90 wounds and 5 scars."""
        wounds = mutants.read_wounds((mutants.ROOT / "src/core/wound.h").read_text())
        scars = sum(each.is_scar for each in wounds)
        self.assertGreaterEqual(len(wounds) - scars, 90)
        self.assertGreaterEqual(scars, 3)
        self.assertEqual(len({each.name for each in wounds}), len(wounds))
        files = [*mutants.ROOT.glob("src/**/*.h"), *mutants.ROOT.glob("src/**/*.cpp")]
        text = "\n".join(path.read_text() for path in files)
        for each in wounds:
            with self.subTest(wound=each.name):
                self.assertRegex(text, rf"\bWound::{each.value}\b")

    def test_backends(self) -> None:
        """A mistake runs where it stands; what several have, and what is in none, in plain."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for backend, text in {
                "cpu": "Wound::kHere Wound::kBoth",
                "cuda": "Wound::kThere Wound::kBoth",
                "plain": "Wound::kBoth",
            }.items():
                (root / "src/backends" / backend).mkdir(parents=True)
                (root / "src/backends" / backend / "forward.cpp").write_text(text)
            for value, backend in {
                "kHere": "cpu",
                "kThere": "cuda",
                "kBoth": "plain",
                "kHer": "plain",
            }.items():
                wound = Wound(value, value, "", False)
                self.assertEqual(mutants.backend_of(wound, root), backend)

    def test_an_empty_list_fails(self) -> None:
        """Nothing examined proves nothing."""
        self.assertEqual(mutants.summary([])[1], 1)


class Checks(unittest.TestCase):
    """What counts as one check."""

    def test_parameters_and_types_are_stripped(self) -> None:
        """Of values before, of types behind the suite's name."""
        self.assertEqual(mutants.bare_name("Kinds/Float", "Fits/1"), ("Float", "Fits"))
        self.assertEqual(mutants.bare_name("Softmax/0", "Merges"), ("Softmax", "Merges"))
        self.assertEqual(mutants.bare_name("All/Softmax/1", "Merges"), ("Softmax", "Merges"))

    def test_random_calls_are_one_check(self) -> None:
        """Whatever their type and family."""
        self.assertEqual(len(Verdict(WOUND, [RANDOM, FLOAT]).checks), 1)

    def test_the_tests_of_a_word_are_one_check(self) -> None:
        """Of mask: the band's, the block mask's, those near the limits."""
        words = ["base", "mask", "softmax"]
        for file in ("core/mask_test.cpp", "core/block_mask_test.cpp", "mask_limits_test.cpp"):
            self.assertEqual(mutants.word_of(file, words), "mask")
        blocks = MASK._replace(suite="BlockMask")
        self.assertEqual(len(Verdict(WOUND, [MASK, blocks]).checks), 1)
        self.assertEqual(len(Verdict(WOUND, [MASK, RANDOM, MERGE]).checks), 3)

    def test_a_report_of_gtest(self) -> None:
        """Only failed tests of it are failures."""
        tests = [{"name": "Fits", "file": "a/mask_test.cpp"}, {"name": "Covers", "failures": [{}]}]
        report = json.dumps({"testsuites": [{"name": "Band", "testsuite": tests}]})
        found = mutants.read_report("test_core", report, ["mask"])
        self.assertEqual([each.test for each in found], ["Covers"])

    def test_a_crash_is_named(self) -> None:
        """With the test in which it happened, beside those that had failed before."""
        output = (
            "[ RUN      ] A.One\n[  FAILED  ] A.One (3 ms)\n"
            "[ RUN      ] A.Two\n[       OK ] A.Two (3 ms)\n[ RUN      ] A.Three\n"
        )
        found = mutants.read_broken_output("test_api", output, "crash")
        self.assertEqual([each.test for each in found], ["One", "Three"])
        self.assertEqual(Verdict(WOUND, found).checks, ["A.One", "A.Three (crash)"])
        crashed = FLOAT._replace(how="crash")
        self.assertEqual(Verdict(WOUND, [RANDOM, crashed]).checks, ["random calls (crash)"])


class Verdicts(unittest.TestCase):
    """Caught, missed, alarmed."""

    def test_one_check_is_a_miss(self) -> None:
        """Two are needed."""
        for failures, caught in [([], 0), ([RANDOM, FLOAT], 0), ([RANDOM, MERGE], 1)]:
            with self.subTest(failures=failures):
                lines, status = mutants.summary([Verdict(WOUND, failures)])
                self.assertEqual(lines[-1], f"{caught} caught, {1 - caught} missed")
                self.assertEqual(status, 1 - caught)

    def test_a_scar_that_is_noticed_is_a_false_alarm(self) -> None:
        """Even by one check, and though all wounds were caught."""
        caught = Verdict(WOUND, [RANDOM, MERGE])
        lines, status = mutants.summary([caught, Verdict(SCAR, [])])
        self.assertEqual((lines[0], status), ("1 scars left alone, 0 false alarms", 0))
        lines, status = mutants.summary([caught, Verdict(SCAR, [RANDOM])])
        self.assertEqual((lines[0], status), ("0 scars left alone, 1 false alarms", 1))
        self.assertEqual(lines[-1], "1 caught, 0 missed")
        self.assertIn("FALSE ALARM", mutants.row_of(Verdict(SCAR, [RANDOM])))
        self.assertIn("MISSED: only random calls", mutants.row_of(Verdict(WOUND, [RANDOM])))


# A test program: fails in Merge.Matches under "one", crashes there under "crash", turns in circles
# under "circle", waits for nothing under "asleep", for another program under "slow"; prints and
# reports as gtest does.
PROGRAM = """#!/bin/sh
echo "[ RUN      ] Merge.Matches"
failures=
case "$TILEWISE_WOUND${2#*.\\*}" in
  one) failures=', "failures": [{}]' ;;
  crash) kill -SEGV $$ ;;
  circle) while :; do :; done ;;
  asleep) exec sleep 60 ;;
  slow) sleep 0.8 ;;
esac
{
  echo '{"testsuites": [{"name": "Merge", "time": "0.5s",'
  echo '"testsuite": [{"name": "Matches"'"$failures"'}]}]}'
} >"${1#--gtest_output=json:}"
"""


# One that needs all families of random calls to notice.
DEEP = """#!/bin/sh
failures=', "failures": [{}]'
[ "$TILEWISE_WOUND" != one ] || [ -n "$TILEWISE_CASE" ] || found=$failures
{
  echo '{"testsuites": [{"name": "Conformance", "time": "0.1s",'
  echo '"testsuite": [{"name": "Every"'"$found"'}]}]}'
} >"${1#--gtest_output=json:}"
"""


class Programs(unittest.TestCase):
    """Running them."""

    def setUp(self) -> None:
        """A build with two programs."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        (self.folder / "tests").mkdir()
        for name in ("test_conformance", "test_api", "test_oracle"):
            program = self.folder / "tests" / name
            program.write_text(PROGRAM)
            program.chmod(0o755)
        self.runner = mutants.Runner(self.folder, self.folder, "plain")

    def test_programs_and_suites(self) -> None:
        """Nothing that does not see the library; the quickest suite first."""
        self.assertEqual(self.runner.programs, ["test_api", "test_conformance"])
        slow = PROGRAM.replace("0.5s", "0.7s")
        (self.folder / "tests/test_api").write_text(slow)
        self.assertEqual(self.runner.learn(), [])
        found = [(each.program, each.seconds) for each in self.runner.suites]
        self.assertEqual(found, [("test_conformance", 0.5), ("test_api", 0.7)])
        self.assertEqual(self.runner.suites[0].checks, {"Merge.Matches"})

    def test_failure_crash_and_hang(self) -> None:
        """All three are failures, and the last two have a name."""
        suite = mutants.Suite("test_api", "Merge", -1.45, frozenset())  # half a second at most
        hows = {"": [], "one": [""], "crash": ["crash"], "circle": ["hang"], "asleep": ["hang"]}
        for wound, expected in hows.items():
            with self.subTest(wound=wound), mock.patch.object(watch, "ASLEEP", 1.0):
                found = self.runner.run(suite, wound, mutants.FIRST)
                self.assertEqual([each.how for each in found], expected)

    def test_a_program_that_others_keep_waiting_does_not_hang(self) -> None:
        """Only processor time counts towards the limit."""
        suite = mutants.Suite("test_api", "Merge", -1.45, frozenset())
        self.assertEqual(self.runner.run(suite, "slow", mutants.FIRST), [])

    def test_limits_know_how_many_processors_a_program_keeps_busy(self) -> None:
        """gtest tells wall time; two seconds of processor time in one of wall are two."""
        tests = [{"name": "Matches"}]
        report = json.dumps({"testsuites": [{"name": "A", "time": "1s", "testsuite": tests}]})
        for spent, expected in [(0.4, 1.0), (2.0, 2.0)]:
            ended = mutants.Ended(report, "", "", spent)
            found = mutants.read_suites("test_api", ended, [])
            self.assertEqual([each.seconds for each in found], [expected])

    def test_enough_checks_end_the_runs(self) -> None:
        """Unless all are wanted, or it is a scar."""
        self.runner.learn()
        with mock.patch.object(mutants, "ENOUGH", 1):
            wound = Wound("kOne", "one", "", False)
            self.assertEqual(len(self.runner.examine(wound, run_all=False).failures), 1)
            self.assertEqual(len(self.runner.examine(wound, run_all=True).failures), 2)
            scar = Wound("kOne", "one", "", True)
            self.assertEqual(len(self.runner.examine(scar, run_all=False).failures), 2)

    def test_a_check_that_has_failed_is_not_asked_again(self) -> None:
        """A second suite of the same check would add nothing."""
        self.runner.learn()
        wound = Wound("kOne", "one", "", False)
        verdict = self.runner.examine(wound, run_all=False)
        self.assertEqual([each.program for each in verdict.failures], ["test_api"])
        self.assertFalse(verdict.ok)

    def test_all_random_calls_are_made_before_a_wound_is_missed(self) -> None:
        """First those of one family, and the others when too few checks have failed."""
        (self.folder / "tests/test_conformance").write_text(DEEP)
        self.runner.learn()
        verdict = self.runner.examine(Wound("kOne", "one", "", False), run_all=False)
        self.assertEqual(verdict.checks, ["Merge.Matches", "random calls"])
        self.assertTrue(verdict.ok)

    def test_the_whole_of_it(self) -> None:
        """The last line, and a build in which the tests fail anyway."""
        row = mutants.read_wounds('WOUND(kOne, "one", "It is wrong.")')
        arguments = ["--no-build", "--build", str(self.folder)]
        with mock.patch.object(mutants, "read_wounds", return_value=row):
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.assertEqual(mutants.main(arguments), 1)
            self.assertEqual(said.getvalue().splitlines()[-1], "0 caught, 1 missed")
            broken = PROGRAM.replace("$TILEWISE_WOUND${2#*.\\*}", "one")
            (self.folder / "tests/test_api").write_text(broken)
            with contextlib.redirect_stdout(said), self.assertRaises(SystemExit):
                mutants.main(arguments)


if __name__ == "__main__":
    unittest.main()
