"""What docs/pytorch.md, the README and the docstrings show must run and print what they say."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import subprocess
import sys
from typing import Any

import pytest
from scripts import ROOT, loaded
from torch_cases import tilewise, torch

PLACES = ("__init__", "_blocks", "_generation", "_mha", "_packing", "_rotation", "_sdpa", "_slopes")
pages: Any = loaded(ROOT / "tools/readme_examples.py")


def shown(page: str, language: str) -> list[Any]:
    """The page's blocks of this language; the README's ```py are those that need torch."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if language != "python":
        text = text.replace("```python\n", "```\n").replace(f"```{language}\n", "```python\n")
    return [x for x in pages.examples(page, text) if x.language == "python"]


EXAMPLES = [*shown("docs/pytorch.md", "python"), *shown("README.md", "py")]


@pytest.mark.filterwarnings("ignore")  # of torch.compile's
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.where)
def test_a_page_prints_what_it_says(example: Any) -> None:
    for package in ("jax", "transformers"):
        if f"tilewise.{package}" in example.text:
            pytest.importorskip(package)
    torch.manual_seed(0)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(example.text, example.where, "exec"), {"__name__": "__main__"})
        finally:
            tilewise.torch.disable()  # the README leaves it on
            if "tilewise.transformers" in example.text:
                tilewise.transformers.disable()
    if example.expected is not None:
        assert pages.matches(example.expected, printed.getvalue()), printed.getvalue()


def test_pages_have_examples() -> None:
    assert len(EXAMPLES) >= 9
    assert sum(example.where.startswith("README") for example in EXAMPLES) == 2


@pytest.mark.parametrize("name", ["flash_attn", "torch", "transformers"])
def test_what_needs_torch_is_there_when_it_is_asked_for(name: str) -> None:
    if name == "transformers":
        pytest.importorskip(name)
    asking = f"import sys, tilewise; assert 'torch' not in sys.modules; tilewise.{name}.__all__"
    subprocess.run([sys.executable, "-c", asking], check=True)


@pytest.mark.parametrize("name", PLACES)
def test_docstrings(name: str) -> None:
    package = "tilewise.torch" if name == "__init__" else f"tilewise.torch.{name}"
    found = doctest.testmod(importlib.import_module(package))
    assert found.failed == 0
    assert found.attempted > 0 or name == "__init__"


def test_every_public_name_says_what_it_is() -> None:
    face: Any = tilewise.torch
    for name in face.__all__:
        assert getattr(face, name).__doc__, name
