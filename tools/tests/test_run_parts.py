"""run_parts.py must run every part, side by side where it may, and lose no failure."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import run_parts
from sum_results import Ended

# Each says how many jobs it has. "left" and "right" end when both have begun; "stay" never ends.
PART = """
import os, pathlib, sys, time
results, name = pathlib.Path(sys.argv[1]), sys.argv[2]
print(f"{name} has {os.environ['TILEWISE_JOBS']} jobs", flush=True)
(results / f"{name}-began").touch()
partner = {"left": "right", "right": "left", "stay": "nobody"}.get(name, name)
patience = time.monotonic() + 20
while not (results / f"{partner}-began").exists():
    if time.monotonic() > patience:
        sys.exit(4)
    time.sleep(0.01)
if name == "poor":
    print("There is no gold here.")
sys.exit({"bad": 3, "poor": 77}.get(name, 0))
"""


class Parts(unittest.TestCase):
    """Parts that do nothing but wait."""

    def setUp(self) -> None:
        """A folder for their results, and the words to start one."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        (self.folder / "part.py").write_text(PART)
        self.results = self.folder / "results"
        self.command = [sys.executable, str(self.folder / "part.py"), str(self.results)]

    def run_all(self, names: list[str], after: dict[str, set[str]]) -> tuple[list[Ended], str]:
        """Runs parts that end at once, and what is printed."""
        said = io.StringIO()
        with (
            mock.patch.dict(run_parts.EXTENTS, {"some": names}),
            mock.patch.dict(run_parts.BUDGETS, dict.fromkeys(names, 60)),
            mock.patch.object(run_parts, "AFTER", after),
            mock.patch.object(os, "sched_getaffinity", return_value=range(4)),
            contextlib.redirect_stdout(said),
        ):
            runner = run_parts.Runner(self.command, self.results, "some")
            ended = runner.run()
        return ended, said.getvalue()

    def test_every_part_runs_and_keeps_its_status(self) -> None:
        """One that fails stops no other, nor those that wait for it."""
        ended, said = self.run_all(["a", "bad", "b", "c"], {"b": {"bad"}})
        statuses = {each.name: each.status for each in ended}
        self.assertEqual(statuses, {"a": 0, "bad": 3, "b": 0, "c": 0})
        self.assertEqual({each.budget for each in ended}, {60})
        self.assertRegex(said, r"== bad FAILED after \d+ s")
        names = [each.name for each in ended]
        self.assertLess(names.index("bad"), names.index("b"))

    def test_what_a_part_lacks_is_its_reason(self) -> None:
        """It counts neither as passed nor as failed, where a part may lack something; not in CI."""
        reason = {"poor": "There is no gold here."}
        for ci, expected, left_out in [("", {"a": 0}, reason), ("1", {"a": 0, "poor": 77}, {})]:
            with (
                self.subTest(ci=ci),
                mock.patch.dict(os.environ, {"CI": ci}),
                mock.patch.object(run_parts, "MAY_LACK", {"poor"}),
                mock.patch.dict(run_parts.EXTENTS, {"some": ["poor", "a"]}),
                mock.patch.dict(run_parts.BUDGETS, {"poor": 60, "a": 60}),
                mock.patch.object(os, "sched_getaffinity", return_value=range(4)),
                contextlib.redirect_stdout(io.StringIO()),
            ):
                runner = run_parts.Runner(self.command, self.results, "some")
                ended = runner.run()
                self.assertEqual({each.name: each.status for each in ended}, expected)
                self.assertEqual(runner.left_out, left_out)
        statuses = {each.name: each.status for each in self.run_all(["a", "poor"], {})[0]}
        self.assertEqual(statuses, {"a": 0, "poor": 77})

    def test_torch_is_left_out_only_where_nobody_asks_for_it(self) -> None:
        """Where it is, in CI and in the full extent it runs."""
        with mock.patch.object(run_parts, "ROOT", self.folder):
            for variables, extent, is_left_out in [
                ({}, "usual", True),
                ({"CI": ""}, "usual", True),
                ({}, "full", False),
                ({"CI": "1"}, "usual", False),
            ]:
                with mock.patch.dict(os.environ, variables, clear=True):
                    self.assertEqual("torch" in run_parts.left_out(extent), is_left_out)
            (self.folder / "build/torch-venv").mkdir(parents=True)
            with mock.patch.dict(os.environ, {}, clear=True):
                self.assertNotIn("torch", run_parts.left_out("usual"))
        self.assertNotIn("torch", run_parts.left_out("quick"))

    def test_what_parts_say_is_not_mixed(self) -> None:
        """It is shown when a part ends; one alone says it at once."""
        _, said = self.run_all(["a", "b"], {})
        for name in ("a", "b"):
            self.assertRegex(said, rf"(?m)^{name} has 2 jobs\n== {name} took \d+ s$")

    def test_processors_are_shared(self) -> None:
        """Two parts have half of them each; a single processor has one part at a time."""
        for processors, lanes, jobs in [(16, 2, 8), (3, 2, 2), (1, 1, 1)]:
            with mock.patch.object(os, "sched_getaffinity", return_value=range(processors)):
                runner = run_parts.Runner(self.command, self.results, "usual")
                self.assertEqual((runner.lanes, runner.jobs), (lanes, jobs))

    def test_two_run_at_a_time(self) -> None:
        """Each of these ends only when the other one has begun."""
        ended, _ = self.run_all(["left", "right", "b"], {})
        self.assertEqual([each.status for each in ended], [0, 0, 0])

    def test_the_project_s_own_parts(self) -> None:
        """test.sh knows each one by name, and no budget lacks a part."""
        script = (run_parts.ROOT / "tools/test.sh").read_text()
        for name in run_parts.EXTENTS["full"]:
            self.assertRegex(script, rf"(?m)^  ([a-z| ]+ )?{name}( [a-z| ]+)?\)")
        self.assertEqual({*run_parts.BUDGETS}, {*run_parts.EXTENTS["usual"]})

    def test_an_unknown_extent(self) -> None:
        """It is refused."""
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(run_parts.main(["nothing"]), 2)

    def test_parts_do_not_outlive_who_runs_them(self) -> None:
        """Whoever stops `./dev test` stops the compilers, too."""
        program = f"""
import sys; sys.path.insert(0, {str(run_parts.ROOT / "tools")!r})
import pathlib, run_parts, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
run_parts.EXTENTS["some"] = ["stay"]
run_parts.Runner({self.command!r}, pathlib.Path({str(self.results)!r}), "some").run()
"""
        runner = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert runner.stdout
        while not (self.results / "stay-began").exists():
            time.sleep(0.01)
        begin = time.monotonic()
        runner.send_signal(signal.SIGTERM)
        # The pipe ends when the part, which holds it, too, has ended.
        runner.stdout.read()
        self.assertEqual(runner.wait(), 143)
        runner.stdout.close()
        self.assertLess(time.monotonic() - begin, 10)


if __name__ == "__main__":
    unittest.main()
