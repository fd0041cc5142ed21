"""Transformers' own "flash_attention_2" through install(), as it runs on a GPU.

On the processor Transformers refuses it before flash_attn is called, so these tests replace the
checks by which it does.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from flash_cases import flash
from torch_cases import close, torch
from transformers_cases import DECODERS, model_of, padded, quietly, tokens

pytestmark = pytest.mark.filterwarnings("ignore")
NAME = "flash_attention_2"
calls: Any = importlib.import_module("transformers.modeling_flash_attention_utils")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    flash.install()
    monkeypatch.setattr(calls, "is_flash_attn_2_available", lambda: True)
    monkeypatch.setattr(calls, "_loaded_implementation", None)
    calls.lazy_import_flash_attention(NAME)
    yield
    flash.uninstall()


def logits(model: Any, implementation: str, *given: Any, **named: Any) -> Any:
    model.config._attn_implementation_internal = implementation
    return quietly(model, *given, **named).logits


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Gemma-2", "gpt-oss"])
def test_models(name: str) -> None:
    model = model_of(DECODERS[name])
    close(logits(model, NAME, tokens()), logits(model, "eager", tokens()), 2e-5)
    for side in ("left", "right"):
        ids, mask = padded(side)
        found = logits(model, NAME, ids, attention_mask=mask)
        wanted = logits(model, "eager", ids, attention_mask=mask)
        close(found[mask.bool()], wanted[mask.bool()], 2e-5)


def test_packed_positions_and_gradients() -> None:
    model = model_of(DECODERS["Llama"])
    ids = tokens(1, 11)
    position = torch.cat((torch.arange(6), torch.arange(5)))[None]
    made = []
    for name in (NAME, "eager"):
        model.zero_grad()
        logits(model, name, ids, position_ids=position, use_cache=False).square().sum().backward()
        made.append([x.grad for x in model.parameters()])
    for one, other in zip(*made):
        close(one, other, 2e-5)


def test_generate() -> None:
    model = model_of(DECODERS["Llama"])
    ids, mask = padded("left")
    made = []
    for name in (NAME, "eager"):
        model.config._attn_implementation_internal = name
        given = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        made.append(quietly(model.generate, ids, attention_mask=mask, **given))
    assert torch.equal(*made)


def test_the_functions_are_tilewises() -> None:
    (one, varlen, cached, pad, unpad), _ = calls.lazy_import_flash_attention(NAME)
    assert one is flash.flash_attn_func
    assert varlen is flash.flash_attn_varlen_func
    assert cached is not None
    assert {pad.__module__, unpad.__module__} == {"tilewise.flash_attn.bert_padding"}
    assert calls._process_flash_kwargs_fn.keywords["supports_mapping"]["s_aux"]
