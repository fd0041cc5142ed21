"""Runs the test programs that mutants.py has built, and says which independent checks failed.

Checks are independent as follows: all comparisons of random calls with the oracle are one check,
the unit tests of one header of core are one ("core's mask" for src/core/mask.h), and every other
test is one.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mutant_list import Mutant
from watch import run_watched

ENOUGH = 2  # independent checks
RANDOM_CALLS = "random calls"  # the check that compares these with the oracle
# How many random calls are made (docs/numerics.md): few, and at first only those of one family.
SMALL = {"TILEWISE_TIER": "smoke"}
FIRST = {**SMALL, "TILEWISE_CASE": "random/gauss"}
FAMILIES = 30  # how much longer all take than one, at most
Environment = dict[str, str]
RERUNS = 3  # of a suite that crashes, each without the test in which it did

OF_THE_GPU = "test_backends_cuda"  # runs the GPU's kernels on the processor, and no other backend
# Programs that do not run with mutants of the processor's code, because they compare no results of
# the library or need a real GPU. OF_THE_GPU alone runs with mutants of the GPU's kernels.
LEFT_OUT = {
    "test_oracle", "test_cli", "test_bench", "test_parallel", "test_robust", "test_problem",
    "test_plan", "test_cuda_device", OF_THE_GPU,
}  # fmt: skip
# At least one check that compares results of calls must notice a wrong mutant. In test_conformance
# all suites but OF_THE_HARNESS compare results, in OF_THE_GPU only those of OF_THE_GPUS_RESULTS.
OF_THE_HARNESS = {"Bound", "BoundFormula", "Families", "List", "Report"}
OF_THE_GPUS_RESULTS = {
    "Aligned", "Append", "Decoding", "Faults", "Featured", "FeaturedKernels", "Held", "Merge",
    "PlainKernels", "Rotary", "Sm80Architecture", "Sm80Backward", "Sm80BackwardFeatured",
    "Sm80BackwardShort", "Sm80Forward", "Sm80Kernels",
}  # fmt: skip
OF_A_DEVICE = "Device.*"  # has a backend of its own, and fails where another one is forced


class Failure(NamedTuple):
    """A test that did not pass."""

    program: str
    suite: str
    test: str
    word: str  # the header of core that it tests; "" for none
    how: str = ""  # "crash", "hang"; empty: it failed


class Ended(NamedTuple):
    """What a program left: gtest's JSON, unless it broke off."""

    report: str | None
    output: str
    how: str  # "crash", "hang" or nothing
    seconds: float  # of processor time


class Verdict(NamedTuple):
    """What the tests said of one mutant."""

    mutant: Mutant
    failures: list[Failure]
    stopped: bool = False  # enough checks failed before all suites had run

    @property
    def checks(self) -> list[str]:
        """The independent checks that noticed the mutant, the first to notice first."""
        return list(dict.fromkeys(map(check_of, self.failures)))

    @property
    def endings(self) -> list[str]:
        """checks, with how each ended if it did not simply fail."""
        hows: dict[str, str] = {}
        for failure in self.failures:
            check = check_of(failure)
            hows[check] = hows.get(check) or failure.how
        return [f"{check} ({how})" if how else check for check, how in hows.items()]

    @property
    def ok(self) -> bool:
        """Whether at least ENOUGH checks noticed a wrong mutant, among them one of results and all
        that the list names; or whether none noticed a harmless mutant."""
        if self.mutant.is_harmless:
            return not self.failures
        by_results = any(map(compares_results, self.failures))
        enough = len(self.checks) >= ENOUGH and self.mutant.caught_by <= {*self.checks}
        return by_results and enough


def bare_name(suite: str, test: str) -> tuple[str, str]:
    """Names without parameters and types: ("Kinds/Float", "Fits/1") is ("Float", "Fits")."""
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


def compares_results(failure: Failure) -> bool:
    """Whether the test looks at what a call of the library has computed."""
    suite, _ = bare_name(failure.suite, failure.test)
    if failure.program == OF_THE_GPU:
        return suite in OF_THE_GPUS_RESULTS
    return failure.program == "test_conformance" and suite not in OF_THE_HARNESS


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
    suites = []
    for suite, wall in zip(found, walls, strict=True):
        if suite["name"] in OF_THE_HARNESS:
            continue
        tests: dict[str, list[str]] = {}
        for test in suite["testsuite"]:
            check = check_of(_failure(program, suite, test, words))
            tests.setdefault(check, []).append(f"{suite['name']}.{test['name']}")
        suites.append(Suite(program, suite["name"], wall * busy, tests))
    return suites


def _failure(
    program: str, suite: dict[str, Any], test: dict[str, Any], words: list[str]
) -> Failure:
    return Failure(program, suite["name"], test["name"], word_of(test.get("file", ""), words))


def read_broken_output(program: str, output: str, how: str) -> list[Failure]:
    """The failures in the output of a program that ended in the middle of a test."""
    names = re.findall(r"^\[  FAILED  \] ([\w/]+)\.([\w/]+)", output, re.MULTILINE)
    found = [Failure(program, suite, test, "") for suite, test in dict.fromkeys(names)]
    begun = re.findall(r"^\[ RUN      \] ([\w/]+)\.([\w/]+)", output, re.MULTILINE)
    suite, test = begun[-1] if begun else (program, "start")
    return [*found, Failure(program, suite, test, "", how)]


class Suite(NamedTuple):
    """What one run covers: one suite of one program."""

    program: str
    name: str
    seconds: float  # of processor time, without a mutant
    tests: dict[str, list[str]]  # by the check to which they belong

    def chosen(self, checks: frozenset[str]) -> str:
        """gtest's filter for the tests of some checks."""
        if checks >= self.tests.keys():
            return f"{self.name}.*"
        return ":".join(
            name for check in self.tests if check in checks for name in self.tests[check]
        )


class Runner:
    """Runs the test programs on one backend, suite by suite."""

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

    def run(
        self, suite: Suite, checks: frozenset[str], number: int, sizes: Environment
    ) -> list[Failure]:
        """Runs `checks` of a suite with mutant `number` and returns the failures. After a crash it
        runs them again without the test that crashed, up to RERUNS times."""
        extra = {**sizes, "TILEWISE_MUTANT": str(number)}
        limit = 15 + 10 * suite.seconds * (1 if sizes == FIRST else FAMILIES)
        failures: list[Failure] = []
        crashed: list[str] = []
        for _ in range(1 + RERUNS):
            chosen = suite.chosen(checks) + ("-" + ":".join(crashed) if crashed else "")
            ended = self._run(suite.program, chosen, limit, extra)
            if ended.report is not None:
                return [*failures, *read_report(suite.program, ended.report, self.words)]
            failures += read_broken_output(suite.program, ended.output, ended.how)
            if ended.how == "hang":
                break
            crashed.append(f"{failures[-1].suite}.{failures[-1].test}")
        return failures

    def learn(self) -> list[Failure]:
        """Runs everything without a mutant, to learn the suites and how long each takes.

        Random calls run with the one family of FIRST, then with all: the others must pass, too.
        """
        failures: list[Failure] = []
        for program in self.programs:
            ended = self._run(program, f"-{OF_A_DEVICE}", None, {**FIRST, "TILEWISE_MUTANT": "0"})
            if ended.report is None:
                failures += read_broken_output(program, ended.output, ended.how)
                continue
            failures += read_report(program, ended.report, self.words)
            self.suites += read_suites(program, ended, self.words)
        self.suites.sort(key=lambda suite: suite.seconds)
        for suite in self.suites:
            if RANDOM_CALLS in suite.tests:
                failures += self.run(suite, frozenset({RANDOM_CALLS}), 0, SMALL)
        return failures

    def examine(self, mutant: Mutant, run_all: bool) -> Verdict:
        """Runs the checks that the list names; if it names none, all until enough have failed.

        For a harmless mutant, or with `run_all`, it runs all checks.
        """
        run_all = run_all or mutant.is_harmless
        in_core = mutant.file.startswith("src/core/")
        suites = [suite for suite in self.suites if suite.program != "test_core" or in_core]
        rounds = [(suites, SMALL)]
        if not run_all:
            again = [suite for suite in suites if RANDOM_CALLS in suite.tests]
            rounds = [(suites, FIRST), (again, SMALL)]
        verdict = Verdict(mutant, [])
        for part, sizes in rounds:
            for suite in part:
                checks = frozenset(suite.tests)
                if not run_all:
                    checks = (mutant.caught_by or checks) & checks - {*verdict.checks}
                if not checks:
                    continue
                found = self.run(suite, checks, mutant.number, sizes)
                verdict = Verdict(mutant, [*verdict.failures, *found])
                if not run_all and verdict.ok:
                    return verdict._replace(stopped=not mutant.caught_by)
        return verdict
