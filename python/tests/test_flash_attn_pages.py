"""What docs/drop-in.md and the docstrings of the drop-in faces show must run and print that."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
from typing import Any

import pytest
from flash_cases import flash
from scripts import ROOT, loaded
from torch_cases import torch

pages: Any = loaded(ROOT / "tools/readme_examples.py")
PAGE = "docs/drop-in.md"
EXAMPLES: list[Any] = [
    x
    for x in pages.examples(PAGE, (ROOT / PAGE).read_text(encoding="utf-8"))
    if x.language == "python" and "import jax" not in x.text  # those are test_jax_pages.py's
]
PLACES = (
    "_tilewise_stand_in",
    "tilewise.flash_attn._refusal",
    "tilewise.flash_attn.flash_attn_interface",
    "tilewise.flash_attn._cached",
    "tilewise.flash_attn._probabilities",
    "tilewise.flash_attn.layers.rotary",
    "tilewise.flash_attn.modules.mha",
    "tilewise.flash_attn.flash_attn_3.flash_attn_interface",
    "tilewise.flash_attn.cute.interface",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.where)
def test_the_page_prints_what_it_says(example: Any) -> None:
    if "import transformers" in example.text:
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(example.text, example.where, "exec"), {"__name__": "__main__"})
        finally:
            flash.uninstall()
    assert example.expected is not None
    assert pages.matches(example.expected, printed.getvalue()), printed.getvalue()
    if "tilewise.transformers" in example.text:
        importlib.import_module("tilewise.transformers").disable()


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("name", PLACES)
def test_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
    assert found.attempted > 0


@pytest.mark.filterwarnings("ignore")
def test_docstrings_of_transformers() -> None:
    pytest.importorskip("transformers")
    face: Any = importlib.import_module("tilewise.transformers")
    found = doctest.testmod(importlib.import_module("tilewise.transformers._enabling"))
    face.disable()
    assert found.failed == 0
    assert found.attempted > 0
