"""What docs/drop-in.md and the docstrings show of JAX must run and print that."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
from typing import Any

import pytest
from jax_cases import face
from scripts import ROOT, loaded

pages: Any = loaded(ROOT / "tools/readme_examples.py")
PAGE = "docs/drop-in.md"
EXAMPLES: list[Any] = [
    x
    for x in pages.examples(PAGE, (ROOT / PAGE).read_text(encoding="utf-8"))
    if x.language == "python" and "import jax" in x.text
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.where)
def test_the_page_prints_what_it_says(example: Any) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example.text, example.where, "exec"), {"__name__": "__main__"})
    assert example.expected is not None
    assert pages.matches(example.expected, printed.getvalue()), printed.getvalue()


def test_the_page_has_an_example() -> None:
    assert len(EXAMPLES) == 1


@pytest.mark.parametrize("name", ["_attention", "_dot_product"])
def test_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"tilewise.jax.{name}"))
    assert found.failed == 0
    assert found.attempted > 0


def test_every_public_name_says_what_it_is() -> None:
    for name in face.__all__:
        assert getattr(face, name).__doc__, name
