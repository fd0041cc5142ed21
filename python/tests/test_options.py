"""The list of options, its documentation and the examples."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
import tilewise
from tilewise.options import Settings

FILES = sorted(Path(tilewise.__path__[0]).glob("*.py"))


def test_types_and_defaults_list_the_same_options() -> None:
    with_defaults = {field.name: field.type for field in fields(Settings)}
    types = {name: hint.__forward_arg__ for name, hint in tilewise.Options.__annotations__.items()}
    assert list(types.items()) == list(with_defaults.items())


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
    for field in fields(Settings):
        assert parameters[field.name].default == field.default
    assert "options" not in parameters


@pytest.mark.parametrize("name", [file.stem for file in FILES if file.stem != "__init__"])
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"tilewise.{name}")).failed == 0


def test_every_public_function_has_an_example() -> None:
    for name in tilewise.__all__:
        member = getattr(tilewise, name)
        if inspect.isfunction(member):
            assert ">>>" in (inspect.getdoc(member) or ""), name
