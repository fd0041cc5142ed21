"""bench/gpu_errors.py must see what is wrong, and find right what the library computes."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from scripts import ROOT
from torch_cases import torch

sys.path.insert(0, str(ROOT / "bench"))

errors: Any = importlib.import_module("gpu_errors")

LENGTH, SIZES = 144, (144, 2, 32)


def drawn_of(family: str, causal: bool) -> Any:
    drawn = errors.draw(family, SIZES, causal, torch.float16, "cpu")
    cell = errors.Cell(LENGTH, 32, causal, "float16", LENGTH, 2)
    if drawn.mask is not None:
        cell.options["mask"] = drawn.mask
    return cell, drawn


@pytest.mark.parametrize("family", errors.FAMILIES)
def test_tilewise_lies_within_the_bound(family: str) -> None:
    cell, drawn = drawn_of(family, causal=False)
    found = errors.results_of(errors.Ours(), cell, drawn)
    worst = errors.errors_of(found, errors.truth(drawn, "float16"), "float16").worst
    assert len(worst) == 4
    assert max(worst) <= 1


def test_formulas_agree_with_torchs_gradients() -> None:
    _cell, drawn = drawn_of("gauss", causal=True)
    query, key, value = (x.detach().double().transpose(1, 2) for x in drawn.given)
    leaves = [x.requires_grad_() for x in (query, key, value)]
    scores = (query @ key.mT / 32**0.5).masked_fill(~drawn.visible, float("-inf"))
    output = scores.softmax(-1) @ value
    arriving = drawn.arriving.double().transpose(1, 2)
    wanted = [output, *torch.autograd.grad(output, leaves, arriving)]
    for one, other in zip(errors.truth(drawn, "float16").results, wanted):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("place", range(4))
def test_a_result_that_is_a_little_off_is_seen(place: int) -> None:
    _cell, drawn = drawn_of("gauss", causal=False)
    true = errors.truth(drawn, "float16")
    found = [x.clone() for x in true.results]
    assert max(errors.errors_of(found, true, "float16").worst) == 0
    found[place] *= 1.02
    worst = errors.errors_of(found, true, "float16").worst
    assert worst[place] > 1
    assert sum(worst) == worst[place]


def test_a_lost_key_is_seen() -> None:
    cell, drawn = drawn_of("gauss", causal=False)
    cell.options["mask"] = (torch.arange(LENGTH) < LENGTH - 1)[None, None, None]
    found = errors.results_of(errors.Ours(), cell, drawn)
    worst = errors.errors_of(found, errors.truth(drawn, "float16"), "float16").worst
    assert min(worst) > 1


def test_what_is_no_number_is_infinitely_off() -> None:
    _cell, drawn = drawn_of("gauss", causal=False)
    true = errors.truth(drawn, "float16")
    found = [x.clone() for x in true.results]
    found[0][0, 0, 0, 0] = float("nan")
    assert errors.errors_of(found, true, "float16").worst[0] == float("inf")
