"""Makes the library wrong on purpose, one mistake at a time, and asks which tests notice.

src/core/wound.h lists the mistakes. Each has to be caught by two independent checks, of which at
least one compares results of calls. All comparisons of random calls with the oracle are one check,
the unit tests of one word of core are one, and any other test is one. Scars, which are no mistakes,
have to be left alone by all. Usage: mutants.py [--wound NAME] [--all] [--list] [--no-build]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from watch import run_watched

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/wounded"
ENOUGH = 2  # independent checks
RANDOM_CALLS = "random calls"  # the check that has a thousand cases and more
# How many random calls are made (docs/numerics.md): few, and first those of one family alone.
SMALL = {"TILEWISE_TIER": "smoke"}
FIRST = {**SMALL, "TILEWISE_CASE": "random/gauss"}
FAMILIES = 30  # how much longer all take than one, at most
Environment = dict[str, str]
RERUNS = 3  # of a suite that crashes, each without the test in which it did

OF_THE_GPU = "test_backends_cuda"  # runs the GPU's kernels on the processor, and no other backend
# Programs, and suites of test_conformance, that look at no results, or not at the library's.
LEFT_OUT = {
    "test_oracle", "test_cli", "test_parallel", "test_robust", "test_problem", "test_plan",
    OF_THE_GPU,
}  # fmt: skip
# Every backend that comes joins the checks of these: one of them at least has to notice.
OF_RESULTS = {"test_conformance", OF_THE_GPU}
OF_THE_HARNESS = {"Bound", "BoundFormula", "Families", "List", "Report"}


class Wound(NamedTuple):
    """A row of the list."""

    value: str  # kLastKeyDropped
    name: str
    sentence: str
    is_scar: bool


class Failure(NamedTuple):
    """A test that did not pass."""

    program: str
    suite: str
    test: str
    word: str  # of core, where it tests one
    how: str = ""  # "crash", "hang"; empty: it failed


class Ended(NamedTuple):
    """What a program left: gtest's JSON, unless it broke off."""

    report: str | None
    output: str
    how: str  # "crash", "hang" or nothing
    seconds: float  # of processor time


class Verdict(NamedTuple):
    """What the tests said of one wound."""

    wound: Wound
    failures: list[Failure]
    stopped: bool = False  # enough checks failed before all suites had run

    @property
    def checks(self) -> list[str]:
        """The independent checks that noticed, in the order in which they did."""
        endings: dict[str, str] = {}
        for failure in self.failures:
            check = check_of(failure)
            endings[check] = endings.get(check) or failure.how
        return [f"{check} ({how})" if how else check for check, how in endings.items()]

    @property
    def ok(self) -> bool:
        """A wound is caught twice, a scar never."""
        if self.wound.is_scar:
            return not self.checks
        by_results = any(failure.program in OF_RESULTS for failure in self.failures)
        return by_results and len(self.checks) >= ENOUGH


def read_wounds(header: str) -> list[Wound]:
    """The rows of TW_WOUNDS in the text of src/core/wound.h."""
    joined = header.replace("\\\n", " ")
    row = re.compile(r'\b(WOUND|SCAR)\(\s*(k\w+),\s*"([^"]+)",\s*((?:"[^"]*"\s*)+)\)')
    return [
        Wound(value, name, "".join(re.findall(r'"([^"]*)"', text)), kind == "SCAR")
        for kind, value, name, text in row.findall(joined)
    ]


def used_in_core(wound: Wound, root: Path = ROOT) -> bool:
    """Whether the mistake stands in a header of core, where core's own tests can meet it."""
    mention = re.compile(rf"\bWound::{wound.value}\b")
    return any(mention.search(path.read_text()) for path in (root / "src/core").glob("*.h"))


def backend_of(wound: Wound, root: Path = ROOT) -> str:
    """The backend that runs with the mistake: plain, unless it stands in another one alone."""
    mention = re.compile(rf"\bWound::{wound.value}\b")

    def has(backend: str) -> bool:
        files = (root / "src/backends" / backend).rglob("*.*")
        return any(mention.search(path.read_text()) for path in files)

    if has("plain"):
        return "plain"
    return next((backend for backend in ("cpu", "cuda") if has(backend)), "plain")


def bare_name(suite: str, test: str) -> tuple[str, str]:
    """Both without parameters and types: ("Kinds/Float", "Fits/1") is ("Float", "Fits")."""
    parts = [part for part in suite.split("/") if not part.isdigit()]
    return parts[-1], test.split("/")[0]


def word_of(file: str, words: Iterable[str]) -> str:
    """The word of core that a test file is about: block_mask_test.cpp is about mask."""
    stem = Path(file).stem.removesuffix("_test")
    return next((word for word in words if word in stem.split("_")), stem)


def check_of(failure: Failure) -> str:
    """The independent check that a failed test belongs to."""
    suite, test = bare_name(failure.suite, failure.test)
    if suite.endswith("Conformance"):
        return RANDOM_CALLS
    if failure.program == "test_core":
        return f"core's {failure.word or suite}"
    return f"{suite}.{test}"


def read_report(program: str, report: str, words: list[str]) -> list[Failure]:
    """The failures in gtest's JSON."""
    return [
        _failure(program, suite, test, words)
        for suite in json.loads(report).get("testsuites", [])
        for test in suite.get("testsuite", [])
        if test.get("failures")
    ]


def read_suites(program: str, ended: Ended, words: list[str]) -> list[Suite]:
    """The suites in gtest's JSON of a run in which all passed."""
    found = json.loads(ended.report or "{}").get("testsuites", [])
    walls = [float(suite.get("time", "0s").removesuffix("s")) for suite in found]
    busy = max(1.0, ended.seconds / max(sum(walls), 0.001))  # processors, of one or more threads
    return [
        Suite(
            program,
            suite["name"],
            wall * busy,
            frozenset(
                check_of(_failure(program, suite, test, words)) for test in suite["testsuite"]
            ),
        )
        for suite, wall in zip(found, walls, strict=True)
        if suite["name"] not in OF_THE_HARNESS
    ]


def _failure(
    program: str, suite: dict[str, Any], test: dict[str, Any], words: list[str]
) -> Failure:
    return Failure(program, suite["name"], test["name"], word_of(test.get("file", ""), words))


def read_broken_output(program: str, output: str, how: str) -> list[Failure]:
    """The same from what a program said before it ended in the middle of a test."""
    names = re.findall(r"^\[  FAILED  \] ([\w/]+)\.([\w/]+)", output, re.MULTILINE)
    found = [Failure(program, suite, test, "") for suite, test in dict.fromkeys(names)]
    begun = re.findall(r"^\[ RUN      \] ([\w/]+)\.([\w/]+)", output, re.MULTILINE)
    suite, test = begun[-1] if begun else (program, "start")
    return [*found, Failure(program, suite, test, "", how)]


class Suite(NamedTuple):
    """What is run at once: one suite of one program."""

    program: str
    name: str
    seconds: float  # of processor time, without a wound
    checks: frozenset[str]  # that its tests belong to


class Runner:
    """Runs the test programs of the wounded build on one backend, suite by suite."""

    def __init__(self, build: Path, core: Path, backend: str) -> None:
        """Finds the programs and the words of core."""
        self.folder = build / "tests"
        self.backend = backend
        self.words = sorted(path.stem for path in core.glob("*.h"))
        found = [path for path in self.folder.glob("test_*") if path.is_file()]
        left_out = {path.name for path in found} - {OF_THE_GPU} if backend == "cuda" else LEFT_OUT
        self.programs = sorted(
            path.name for path in found if path.name not in left_out and os.access(path, os.X_OK)
        )
        self.suites: list[Suite] = []  # the quickest first

    def _run(self, program: str, chosen: str, limit: float | None, extra: Environment) -> Ended:
        # The GPU's kernels run as a backend of the tests, which comes first.
        backend = "" if self.backend == "cuda" else self.backend
        forced = {"TILEWISE_BACKEND": backend, "GTEST_COLOR": "no"}
        environment = {**os.environ, **extra, **forced}
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [
                str(self.folder / program),
                f"--gtest_output=json:{report}",
                f"--gtest_filter={chosen}",
            ]
            printed = Path(folder) / "printed"
            ended = run_watched(command, environment, printed, limit)
            output = printed.read_text(errors="replace")
            text = report.read_text() if report.exists() and not ended.hangs else None
            how = "hang" if ended.hangs else "" if text else "crash"
            return Ended(text, output, how, ended.seconds)

    def run(self, suite: Suite, wound: str, sizes: Environment) -> list[Failure]:
        """What fails in a suite; after a crash the rest of it is run, too."""
        extra = {**sizes, "TILEWISE_WOUND": wound}
        limit = 15 + 10 * suite.seconds * (1 if sizes == FIRST else FAMILIES)
        failures: list[Failure] = []
        crashed: list[str] = []
        for _ in range(1 + RERUNS):
            chosen = f"{suite.name}.*" + ("-" + ":".join(crashed) if crashed else "")
            ended = self._run(suite.program, chosen, limit, extra)
            if ended.report is not None:
                return [*failures, *read_report(suite.program, ended.report, self.words)]
            failures += read_broken_output(suite.program, ended.output, ended.how)
            if ended.how == "hang":
                break
            crashed.append(f"{failures[-1].suite}.{failures[-1].test}")
        return failures

    def learn(self) -> list[Failure]:
        """Runs all without a wound: which suites there are, and what each takes."""
        failures: list[Failure] = []
        for program in self.programs:
            ended = self._run(program, "*", None, {**FIRST, "TILEWISE_WOUND": ""})
            if ended.report is None:
                failures += read_broken_output(program, ended.output, ended.how)
                continue
            failures += read_report(program, ended.report, self.words)
            self.suites += read_suites(program, ended, self.words)
        self.suites.sort(key=lambda suite: suite.seconds)
        return failures

    def examine(self, wound: Wound, run_all: bool) -> Verdict:
        """Runs suites until enough checks have failed; all of them for a scar."""
        run_all = run_all or wound.is_scar
        wanted = [
            suite for suite in self.suites if suite.program != "test_core" or used_in_core(wound)
        ]
        rounds = [(wanted, SMALL)]
        if not run_all:
            again = [suite for suite in wanted if RANDOM_CALLS in suite.checks]
            rounds = [(wanted, FIRST), (again, SMALL)]
        verdict = Verdict(wound, [])
        for suites, sizes in rounds:
            for suite in suites:
                if not run_all and suite.checks <= {check_of(each) for each in verdict.failures}:
                    continue
                found = self.run(suite, wound.name, sizes)
                verdict = Verdict(wound, [*verdict.failures, *found])
                if not run_all and verdict.ok:
                    return verdict._replace(stopped=True)
        return verdict


def row_of(verdict: Verdict) -> str:
    """A line of the table."""
    wound, checks = verdict.wound, verdict.checks
    count = f"{len(checks)}{'+' if verdict.stopped else ''}"
    named = ", ".join(checks[:3]) + (", ..." if len(checks) > 3 else "")
    if wound.is_scar:
        found = f"FALSE ALARM of {named}" if checks else "left alone"
    else:
        found = named if verdict.ok else f"MISSED{': only ' + named if checks else ''}"
    return f"{wound.name:26} {count:>3}  {wound.sentence}\n{'':32}{found}"


def summary(verdicts: list[Verdict]) -> tuple[list[str], int]:
    """The last lines, and the exit status."""
    scars = [verdict for verdict in verdicts if verdict.wound.is_scar]
    wounds = [verdict for verdict in verdicts if not verdict.wound.is_scar]
    caught, alone = sum(verdict.ok for verdict in wounds), sum(verdict.ok for verdict in scars)
    lines = [
        f"{alone} scars left alone, {len(scars) - alone} false alarms",
        f"{caught} caught, {len(wounds) - caught} missed",
    ]
    bad = not verdicts or not all(verdict.ok for verdict in verdicts)
    return lines, 1 if bad else 0


def show(verdict: Verdict) -> None:
    """Everything that failed, for one wound."""
    for failure in verdict.failures:
        ending = f" ({failure.how})" if failure.how else ""
        print(f"  {failure.program}: {failure.suite}.{failure.test}{ending}")


def examine_all(
    wounds: list[Wound], examine: Callable[[Wound], Verdict], workers: int
) -> list[Verdict]:
    """The verdicts in the list's order, each printed once all before it are known."""
    verdicts = []
    with ThreadPoolExecutor(workers) as pool:
        for verdict in pool.map(examine, wounds):
            print(row_of(verdict), flush=True)
            verdicts.append(verdict)
    return verdicts


def build() -> None:
    """The preset `wounded`, quietly."""
    for command in (["cmake", "--preset", "wounded"], ["cmake", "--build", "--preset", "wounded"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print((done.stdout + done.stderr)[-4000:], file=sys.stderr)
            sys.exit(f"{' '.join(command)} failed.")


def ready_runner(build: Path, backend: str) -> Runner:
    """One that knows how long each suite takes, once all have passed."""
    runner = Runner(build, ROOT / "src/core", backend)
    if not runner.programs:
        sys.exit(f"{build} holds no test programs: is gtest installed?")
    failures = runner.learn()
    if failures:
        show(Verdict(Wound("", "", "", False), failures))
        sys.exit(f"Without any wound the tests of {backend} fail: mend that first.")
    return runner


def main(arguments: list[str]) -> int:
    """1 when a wound was missed, a scar was not left alone, or there was nothing to examine."""
    parser = argparse.ArgumentParser(
        prog="./dev mutants", description=(__doc__ or "").split(":")[0]
    )
    parser.add_argument("--list", action="store_true", help="print the wounds and stop")
    parser.add_argument("--wound", metavar="NAME", help="examine one and print all that failed")
    parser.add_argument("--all", action="store_true", help="run all tests for each wound")
    parser.add_argument("--no-build", action="store_true", help="take the build as it is")
    parser.add_argument("--build", type=Path, default=BUILD, help="its folder (%(default)s)")
    given = parser.parse_args(arguments)
    wounds = read_wounds((ROOT / "src/core/wound.h").read_text())
    if given.list:
        for wound in wounds:
            print(f"{wound.name:26} {'(scar) ' if wound.is_scar else ''}{wound.sentence}")
        return 0 if wounds else 1
    if given.wound:
        wounds = [wound for wound in wounds if wound.name == given.wound]
        if not wounds:
            sys.exit(f"{given.wound} is no wound: --list prints their names.")
    if not given.no_build:
        build()

    begin = time.monotonic()
    runners = {
        backend: ready_runner(given.build, backend)
        for backend in sorted(set(map(backend_of, wounds)))
    }
    run_all = given.all or given.wound is not None
    verdicts = examine_all(
        wounds,
        lambda wound: runners[backend_of(wound)].examine(wound, run_all),
        os.cpu_count() or 1,
    )
    if given.wound:
        show(verdicts[0])
    lines, status = summary(verdicts)
    print(f"{time.monotonic() - begin:.0f} s")
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
