"""The list of options, its documentation and the examples."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import tilewise
from tilewise import _forms
from tilewise.options import DEFAULTS

FILES = sorted(Path(tilewise.__path__[0]).glob("*.py"))


def test_every_option_is_known_to_calls() -> None:
    assert set(_forms.KNOWN) == set(tilewise.Options.__annotations__)
    assert len(_forms.KNOWN) == len(set(_forms.KNOWN))


def test_every_option_is_documented() -> None:
    text = inspect.getdoc(tilewise.Options) or ""
    documented = re.findall(r"^ {2}([a-z_, ]+):", text, re.MULTILINE)
    names = {name for line in documented for name in line.split(", ")}
    assert names == set(tilewise.Options.__annotations__)


@pytest.mark.parametrize(
    "function",
    [
        tilewise.attention,
        tilewise.attention_backward,
        tilewise.attention_probabilities,
        tilewise.explain,
        tilewise.workspace_bytes,
    ],
)
def test_signatures_name_the_options(function: object) -> None:
    assert callable(function)
    parameters = inspect.signature(function).parameters
    for name in tilewise.Options.__annotations__:
        assert parameters[name].default == DEFAULTS.get(name)
    assert "options" not in parameters


@pytest.mark.parametrize("name", [file.stem for file in FILES if file.stem != "__init__"])
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"tilewise.{name}")).failed == 0


def test_every_public_function_has_an_example() -> None:
    for name in tilewise.__all__:
        member = getattr(tilewise, name)
        if inspect.isfunction(member):
            assert ">>>" in (inspect.getdoc(member) or ""), name
