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
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "part.py").write_text(PART)
        self.results = self.folder / "results"
        self.command = [sys.executable, str(self.folder / "part.py"), str(self.results)]

    def run_all(self, *names: str, **patched: object) -> tuple[run_parts.Runner, str]:
        """Runs parts on four processors; `patched` are constants of the module."""
        said = io.StringIO()
        with contextlib.ExitStack() as stack:
            for name, value in {"AFTER": {}, **patched}.items():
                stack.enter_context(mock.patch.object(run_parts, name, value))
            stack.enter_context(mock.patch.dict(run_parts.EXTENTS, {"some": list(names)}))
            stack.enter_context(mock.patch.dict(run_parts.BUDGETS, dict.fromkeys(names, 60)))
            stack.enter_context(mock.patch.object(os, "sched_getaffinity", lambda _: range(4)))
            stack.enter_context(contextlib.redirect_stdout(said))
            runner = run_parts.Runner(self.command, self.results, "some")
            runner.run()
        return runner, said.getvalue()

    def test_every_part_runs_keeps_its_status_and_is_heard(self) -> None:
        """One that fails stops no other, nor those that wait for it."""
        runner, said = self.run_all("b", "a", "bad", "c", AFTER={"b": {"bad"}})
        statuses = {each.name: each.status for each in runner.ended}
        self.assertEqual(statuses, {"a": 0, "bad": 3, "b": 0, "c": 0})
        self.assertEqual({each.budget for each in runner.ended}, {60})
        self.assertRegex(said, r"(?m)^bad has 2 jobs\n== bad FAILED after \d+ s$")
        self.assertRegex(said, r"(?m)^b has 2 jobs\n== b took \d+ s$")
        names = [each.name for each in runner.ended]
        self.assertLess(names.index("bad"), names.index("b"))

    def test_what_a_part_lacks_is_its_reason(self) -> None:
        """A part of MAY_LACK that ends with 77 is left out with its last line; in CI it fails."""
        for ci, may_lack, expected, left_out in [
            ("", {"poor"}, {"a": 0}, {"poor": "There is no gold here."}),
            ("1", {"poor"}, {"a": 0, "poor": 77}, {}),
            ("", set[str](), {"a": 0, "poor": 77}, {}),
        ]:
            with self.subTest(ci=ci), mock.patch.dict(os.environ, {"CI": ci}):
                runner, _ = self.run_all("poor", "a", MAY_LACK=may_lack)
                self.assertEqual({each.name: each.status for each in runner.ended}, expected)
                self.assertEqual(runner.left_out, left_out)

    def test_torch_is_left_out_only_where_nobody_asks_for_it(self) -> None:
        for variables, extent, has_torch, is_left_out in [
            ({}, "usual", False, True),
            ({"CI": ""}, "usual", False, True),
            ({}, "full", False, False),
            ({"CI": "1"}, "usual", False, False),
            ({}, "usual", True, False),
            ({}, "quick", False, False),
        ]:
            with (
                mock.patch.object(run_parts, "ROOT", self.folder / str(has_torch)),
                mock.patch.dict(os.environ, variables, clear=True),
            ):
                (self.folder / "True/build/torch-venv").mkdir(parents=True, exist_ok=True)
                self.assertEqual("torch" in run_parts.left_out(extent), is_left_out)

    def test_processors_are_shared(self) -> None:
        """Two parts have half of them each; a single processor has one part at a time."""
        for processors, lanes, jobs in [(16, 2, 8), (3, 2, 2), (1, 1, 1)]:
            with mock.patch.object(os, "sched_getaffinity", return_value=range(processors)):
                runner = run_parts.Runner(self.command, self.results, "usual")
                self.assertEqual((runner.lanes, runner.jobs), (lanes, jobs))

    def test_two_run_at_a_time(self) -> None:
        """Each of these ends only when the other one has begun."""
        runner, _ = self.run_all("left", "right", "b")
        self.assertEqual([each.status for each in runner.ended], [0, 0, 0])

    def test_the_project_s_own_parts(self) -> None:
        """test.sh knows each one by name, no budget lacks a part, other extents are refused."""
        script = (run_parts.ROOT / "tools/test.sh").read_text()
        for name in run_parts.EXTENTS["full"]:
            self.assertRegex(script, rf"(?m)^  ([a-z| ]+ )?{name}( [a-z| ]+)?\)")
        self.assertEqual({*run_parts.BUDGETS}, {*run_parts.EXTENTS["usual"]})
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(run_parts.main(["nothing"]), 2)

    def test_parts_do_not_outlive_who_runs_them(self) -> None:
        """SIGTERM to the runner also ends its parts, such as compilers."""
        program = f"""
import sys; sys.path.insert(0, {str(run_parts.ROOT / "tools")!r})
import pathlib, run_parts, signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
run_parts.EXTENTS["some"] = ["stay"]
run_parts.Runner({self.command!r}, pathlib.Path({str(self.results)!r}), "some").run()
"""
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as runner:
            assert runner.stdout
            while not (self.results / "stay-began").exists():
                time.sleep(0.01)
            begin = time.monotonic()
            runner.send_signal(signal.SIGTERM)
            # The pipe ends when the part, which holds it, too, has ended.
            runner.stdout.read()
            self.assertEqual(runner.wait(), 143)
        self.assertLess(time.monotonic() - begin, 10)
