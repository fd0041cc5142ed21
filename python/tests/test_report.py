"""`python -m tilewise`: its facts, and that its check sees a wrong result."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewise
from tilewise import __main__ as program
from tilewise import _checkup, _machine, _quick, _tensors, planning


def test_says_what_is_here_and_that_it_is_exact() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tilewise"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines() if len(line.split()) > 1)
    assert lines["NumPy"].strip() == np.__version__
    assert lines["library"].startswith(tilewise.__version__)
    assert "all are exact" in lines["check"]
    assert "plain" in lines["backends"]


def test_what_cannot_be_printed_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tilewise", "--seconds", "0"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.stderr == "tilewise: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python does not say how it was started")
def test_a_library_that_does_not_load_is_said() -> None:
    surroundings = {**os.environ, "TILEWISE_LIBRARY": "/nowhere"}
    command = [sys.executable, "-m", "tilewise"]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    assert re.fullmatch(r"tilewise cannot use the shared library /nowhere: [^\n]+\n", done.stderr)
    assert done.returncode == 1


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--json", "--seconds", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backends"] == tilewise.backends()
    assert found["called by"] == ("ctypes" if _quick.extension is None else "_fast, the extension")
    assert found["check"]["calls"] == 1
    assert found["check"]["failures"] == []
    assert _machine.instructions() == found["instructions"] != ""


def test_environment_is_what_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEWISE_BACKEND", "plain")
    found = _machine.environment()
    assert "TILEWISE_BACKEND=plain" in found
    monkeypatch.setenv("TILEWISE_NVRTC_PATH", "/mine")
    assert "TILEWISE_NVRTC_PATH=/mine" in _machine.environment()


def test_says_why_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--seconds", "0"]) == 0
    (line,) = (each for each in capsys.readouterr().out.splitlines() if each.startswith("GPUs "))
    found = tilewise.devices()[1:]
    assert line.split(maxsplit=1)[1] == "can be used" if found else len(line) > 40


def test_checks_all_cases_when_it_may() -> None:
    findings = _checkup.check(60)
    assert findings.failures == []
    assert findings.calls >= 45


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("output", r"output is off by .*; 1e-12 is allowed"),
        ("key", r"the gradient of key is off by .*; 1e-12 is allowed"),
    ],
)
def test_a_wrong_result_is_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], part: str, sentence: str
) -> None:
    right: Any = tilewise.attention if part == "output" else tilewise.attention_backward

    def wrong(*given: Any, **options: Any) -> Any:
        found = right(*given, **options)
        if part == "output":
            found[0][0, 0, 0, 0] += 1e-9
            return found
        found.key[0, 0, 0, 0] += 1e-9
        return found

    name = "attention" if part == "output" else "attention_backward"
    monkeypatch.setattr(tilewise, name, wrong)
    findings = _checkup.check(60)
    assert findings.failures
    monkeypatch.setattr(_checkup, "TOLERANCES", {"float64": 1e-12})
    assert program.main([]) == 1
    printed = capsys.readouterr().out
    assert "are WRONG" in printed
    assert re.search(sentence, printed), printed


def test_a_refusal_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_given: Any, **_options: Any) -> Any:
        raise NotImplementedError("nothing here runs this.")

    monkeypatch.setattr(tilewise, "attention", refuses)
    findings = _checkup.check(0)
    assert findings.failures == [
        "float64, 33 queries, 47 keys, dim 16, no options: NotImplementedError: nothing here runs "
        "this."
    ]


def test_tensors_are_checked_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    findings = _tensors.check()
    assert isinstance(findings, _checkup.Findings)
    assert findings.calls == 6
    assert findings.failures == []
    right: Any = tilewise.attention

    def wrong(*given: Any, **options: Any) -> Any:
        found = right(*given, **options)
        return found if isinstance(found, tuple) else found * (1 + 1e-9)

    monkeypatch.setattr(tilewise, "attention", wrong)
    assert program.main(["--seconds", "0", "--tensors"]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"tensors of float64, no options: output is off by .*; 1e-12 is", printed)
    assert re.search(r"tensors +6 calls .* 2 are WRONG", printed)


def test_a_torch_that_does_not_run_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    monkeypatch.setitem(sys.modules, "tilewise.torch", None)
    assert program.main(["--seconds", "0", "--tensors"]) == 0
    assert "not tried: ModuleNotFoundError" in capsys.readouterr().out
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert _tensors.check() == "not tried: there is no torch here"


def test_gpus_are_checked_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def played(function: Any) -> Any:
        def call(*given: Any, device: str = "cpu", **options: Any) -> Any:
            seen.append(device)
            return function(*given, **options)

        return call

    monkeypatch.setattr(tilewise, "attention", played(tilewise.attention))
    monkeypatch.setattr(tilewise, "attention_backward", played(tilewise.attention_backward))
    monkeypatch.setattr(tilewise, "devices", lambda: ["cpu", "cuda:0", "cuda:1"], raising=False)
    monkeypatch.setattr(_checkup, "_why_not", lambda _device: "")
    assert program.main(["--seconds", "0"]) == 0
    assert {name: seen.count(name) for name in seen} == {"cuda:0": 20, "cuda:1": 20}
    assert "cpu, cuda:0, cuda:1" in capsys.readouterr().out


# A GPU without kernels must be left out of the check, and not be counted as wrong.
def test_a_gpu_whose_calls_cannot_run_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def refuses(*_given: Any, device: str, **_options: Any) -> None:
        asked.append(device)
        raise RuntimeError("The library holds no kernel.")

    monkeypatch.setattr(planning, "make_ready", refuses)
    monkeypatch.setattr(tilewise, "devices", lambda: ["cpu", "cuda:0"], raising=False)
    assert program.main(["--seconds", "0"]) == 0
    printed = capsys.readouterr().out
    assert "1 calls with their gradients" in printed
    assert re.search(r"(?m)^not checked +cuda:0: The library holds no kernel\.$", printed), printed
    assert asked == ["cuda:0"], "it is said once"


def test_calls_are_made_ready_on_the_processor_too() -> None:
    planning.make_ready((1, 4, 2, 8), (1, 4, 2, 8), (1, 4, 2, 8), operation="backward")
    with pytest.raises(ValueError, match="heads"):
        planning.make_ready((1, 4, 3, 8), (1, 4, 2, 8), (1, 4, 2, 8))
