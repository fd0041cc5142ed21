"""Runs one suite for peer_suites.py: starts pytest with tilewise in the tested package's place.

Its argument is a JSON object: what to run, how many cases of each function, and for how long.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import sys
import time
from collections import Counter, defaultdict
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from peer_suites import why_outside

# The compute capability that torch is made to report in tests on the processor, because
# FlashAttention's tests ask for it.
_CAPABILITIES = {"flash_attn": (8, 0), "flash_attn_3": (9, 0), "flash_attn_4": (10, 0)}
_LARGE = 2**37
# Tests of mistakes that only a GPU makes: they repeat one call a thousand times.
_OF_A_GPU_ALONE = ("race_condition",)


class Cases:
    """A plugin for pytest: draws cases, counts them, and stops when the time is over."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.rows: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: dict[str, str] = {}
        self.row_of: dict[str, str] = {}
        self.functions: set[str] = set()
        self.names: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        self.end = time.monotonic() + asked["seconds"]

    def draw(self, name: str, cases: Any) -> list[Any]:
        """A random choice of a function's cases; it does not depend on what ran before."""
        source = random.Random(f"{self.asked['seed']} {name}")
        return source.sample(cases, min(len(cases), self.asked["cases"]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Draws from the product of a function's parameters, which is too large to write out."""
        marks = list(metafunc.definition.iter_markers("parametrize"))
        if not marks:
            return
        metafunc.definition.own_markers[:] = [
            m for m in metafunc.definition.own_markers if m.name != "parametrize"
        ]
        names = [_names(mark.args[0]) for mark in marks]
        pairs = list(zip(names, (mark.args[1] for mark in marks), strict=True))
        values = [[self._shorter(n, _values(v, len(n))) for v in given] for n, given in pairs]
        number = prod(len(of_mark) for of_mark in values)
        chosen = self.draw(metafunc.function.__name__, range(number))
        cases = []
        for index in chosen:
            case: list[Any] = []
            for of_mark in values:
                index, place = divmod(index, len(of_mark))
                case += of_mark[place]
            cases.append(case)
        metafunc.parametrize([name for n in names for name in n], cases, ids=map(_identity, cases))

    def _shorter(self, names: list[str], values: list[Any]) -> list[Any]:
        """The values, with lengths scaled down to the longest allowed, in proportion."""
        places = [i for i, name in enumerate(names) if "seqlen" in name]
        lengths = [values[i] for i in places if type(values[i]) is int]
        factor = self.asked["longest"] / max([1, *lengths])
        if factor >= 1 or len(lengths) < len(places):
            return values
        return [
            max(1, int(value * factor)) if i in places else value for i, value in enumerate(values)
        ]

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Draws from each function's cases, which unittest's classes write out in full, and orders
        them by turns among functions, so that each has run some when the time is over."""
        by_function: dict[str, list[Any]] = defaultdict(list)
        left_out = _OF_A_GPU_ALONE if self.asked["device"] == "cpu" else ()
        if without := self.asked["without"]:
            left_out += (without,)
        named = set(self.asked["cases_named"])
        for item in items:
            if named and item.nodeid not in named:
                continue
            if self.asked["only"] in item.nodeid and not any(x in item.nodeid for x in left_out):
                by_function[self._function_of(item)].append(item)
        for name, cases in by_function.items():
            by_function[name] = self.draw(name, cases)
        longest = max(map(len, by_function.values()), default=0)
        items[:] = [c[i] for i in range(longest) for c in by_function.values() if i < len(c)]

    def _function_of(self, item: Any) -> str:
        """The function's name, without what parameters add to it."""
        name: str = getattr(item, "originalname", None) or item.name
        longer = [known for known in self.functions if name.startswith(f"{known}_")]
        return max(longer, key=len, default=name)

    def draw_from(self, generic: Any) -> None:
        """Draws from a class whose tests torch writes out, one for each of their parameters."""
        for name, test in vars(generic).items():
            if name.startswith("test_"):
                self.functions.add(name)
                if hasattr(test, "parametrize_fn"):
                    test.parametrize_fn = self._drawn(name, test.parametrize_fn)

    def _drawn(self, name: str, write_out: Any) -> Any:
        def drawn(*given: Any) -> Any:
            try:
                cases = list(write_out(*given))
            except ValueError:  # none of the operators that this test is for is attention
                cases = []
            return iter(self.draw(name, cases))

        return drawn

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Counts a case by the outcome of its call, or of its setup if the call was not reached."""
        if report.when != "call" and report.outcome == "passed":
            return
        function = report.nodeid.partition("[")[0].rpartition("::")[2]
        row = self.rows[self._row(report.nodeid, function)]
        if report.outcome != "failed":
            row[report.outcome] += 1
            return
        lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
        said = " ".join(lines)[:400] or report.longreprtext[-400:]
        row["failed" if (why := why_outside(function, said)) is None else "outside"] += 1
        self.row_of[report.nodeid] = self._row(report.nodeid, function)
        self.failures[report.nodeid] = said if why is None else f"(outside: {why})"

    def _row(self, nodeid: str, function: str) -> str:
        return f"{nodeid.partition('::')[0]} {self.names.get(nodeid, function)}"

    def pytest_collection_finish(self, session: Any) -> None:
        """Remembers the functions of the tests that run."""
        self.names = {item.nodeid: self._function_of(item) for item in session.items}

    def pytest_runtest_teardown(self, item: Any) -> None:
        """Saves the counts, and stops once the time is over."""
        self.keep(f"{item.session.testscollected} cases were drawn.")
        if time.monotonic() > self.end:
            item.session.shouldstop = "the time is over"

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be read counts as failed."""
        if report.failed:
            self.row_of[report.nodeid] = f"{report.nodeid} (its import)"
            self.rows[f"{report.nodeid} (its import)"]["failed"] += 1
            self.failures[report.nodeid] = report.longreprtext[-400:]

    def pytest_sessionfinish(self, session: Any) -> None:
        """Saves the counts, including files that could not be read."""
        self.keep(f"{session.testscollected} cases were drawn.")

    def keep(self, note: str) -> None:
        """Writes the counts so far to a file for peer_suites.py."""
        notes = [note]
        if self.calls:
            taken, left = self.calls["_lying_as_torchs"], self.calls["_by_torch"]
            notes.append(f"Of calls of torch's function tilewise took {taken}, torch {left}.")
        found = {
            "rows": self.rows,
            "failures": self.failures,
            "notes": notes,
            "row_of": self.row_of,
        }
        Path(self.asked["result"]).write_text(json.dumps(found))


def _names(given: Any) -> list[str]:
    return [n.strip() for n in given.split(",")] if isinstance(given, str) else list(given)


def _values(given: Any, number: int) -> list[Any]:
    """One set of values for `number` names."""
    if hasattr(given, "values") and hasattr(given, "marks"):
        return list(given.values)
    return [given] if number == 1 else list(given)


def _identity(case: list[Any]) -> str:
    return "-".join(str(value).replace("torch.", "").replace(" ", "") for value in case)


def be_flash_attn(suite: str, device: str) -> None:
    """Makes `import flash_attn` and its kin tilewise's; on the CPU, torch then claims a GPU."""
    stand_in = importlib.import_module("tilewise.flash_attn")
    stand_in.install(versions=(2, 3, 4) if suite == "flash_attn_4" else (2, 3))
    os.environ.setdefault("FLASH_ATTENTION_ENABLE_OPCHECK", "TRUE")
    if suite == "flash_attn_4":
        # Its tests import these names, which tilewise lacks: helpers of the tests themselves, a
        # cache of kernels, and two internal functions.
        sys.modules["flash_attn.cute.testing"] = importlib.import_module("testing")
        sys.modules["flash_attn.cute.cache_utils"] = cache = ModuleType(
            "flash_attn.cute.cache_utils"
        )
        cache.JITCache = dict  # type: ignore[attr-defined]
        interface: Any = importlib.import_module("flash_attn.cute.interface")
        interface._flash_attn_bwd_sparse_mla = interface._flash_attn_fwd_combine = None
    if device == "cpu":
        capability = _CAPABILITIES[suite]
        properties = type("Properties", (), {"total_memory": _LARGE, "multi_processor_count": 132})
        for name, value in {
            "get_device_capability": capability,
            "get_device_properties": properties,
            "synchronize": None,
            "empty_cache": None,
        }.items():
            setattr(torch.cuda, name, lambda *_, value=value, **__: value)


def be_sdpa(cases: Cases) -> None:
    """Makes torch's function tilewise's, and keeps only attention's operators and modules."""
    override = importlib.import_module("tilewise.torch._override")
    for name in ("_by_torch", "_lying_as_torchs"):
        setattr(override, name, _counted(getattr(override, name), name, cases.calls))
    if not cases.asked["own"]:
        importlib.import_module("tilewise.torch").enable()
    kept = {
        "methods_invocations.op_db": "scaled_dot_product",
        "modules.module_db": "ttention|Transf",
    }
    for place, names in kept.items():
        where, listed = place.split(".")
        database = importlib.import_module(f"torch.testing._internal.common_{where}")
        chosen = getattr(database, listed)
        chosen[:] = [entry for entry in chosen if re.search(names, entry.name)]
    types: Any = importlib.import_module("torch.testing._internal.common_device_type")
    write_out = types.instantiate_device_type_tests

    def instantiate(generic: Any, *given: Any, **named: Any) -> None:
        cases.draw_from(generic)
        write_out(generic, *given, **named)

    types.instantiate_device_type_tests = instantiate


def _counted(function: Any, name: str, counts: Counter[str]) -> Any:
    def wrapped(*given: Any) -> Any:
        counts[name] += 1
        return function(*given)

    return wrapped


def main(asked: dict[str, Any]) -> int:
    """Runs one suite in the folder of its files."""
    sys.path.insert(0, str(Path.cwd()))
    cases = Cases(asked)
    if asked["suite"].startswith("flash_attn"):
        be_flash_attn(asked["suite"], asked["device"])
    else:
        be_sdpa(cases)
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "--tb=short",
        "--continue-on-collection-errors",
        "-rf",
        "-c",
        os.devnull,
    ]
    return int(pytest.main([*options, f"--rootdir={Path.cwd()}", *asked["tests"]], plugins=[cases]))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
