"""enable() and the ways to ask for it; the folder for the package `kernels`."""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch_cases import close, torch
from transformers_cases import DECODERS, face, model_of, quietly, tokens, transformers

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def enabled() -> Iterator[None]:
    face.enable()
    face.enable()
    yield
    face.disable()


@pytest.mark.usefixtures("enabled")
def test_ways_to_ask(tmp_path: Path) -> None:
    model = model_of(DECODERS["Llama"])
    wanted = quietly(model, tokens()).logits
    model.save_pretrained(tmp_path)
    auto: Any = transformers.AutoModelForCausalLM
    for given in (
        {"attn_implementation": "tilewise"},
        {"flash_attn_2": True},
        {"use_flash_attention_2": True},
    ):
        loaded = auto.from_pretrained(tmp_path, **given)
        assert loaded.config._attn_implementation == "tilewise"
        close(quietly(loaded, tokens()).logits, wanted)
        made = auto.from_config(model.config, **given)
        assert made.config._attn_implementation == "tilewise"
    for loader in (auto, transformers.LlamaForCausalLM):  # both are asked for
        loaded = loader.from_pretrained(tmp_path, flash_attn_2=True, attn_implementation="sdpa")
        assert loaded.config._attn_implementation == "tilewise"
    for given in ({}, {"flash_attn_2": False}):
        assert auto.from_pretrained(tmp_path, **given).config._attn_implementation == "sdpa"
    assert model.enable_flash_attention() is model
    assert model.config._attn_implementation == "tilewise"
    close(quietly(model, tokens()).logits, wanted)


def test_disable_undoes_it() -> None:
    before = transformers.PreTrainedModel.__dict__["from_pretrained"]
    face.enable()
    assert face.is_enabled()
    face.disable()
    face.disable()
    assert not face.is_enabled()
    assert transformers.PreTrainedModel.__dict__["from_pretrained"] is before
    assert not hasattr(transformers.PreTrainedModel, "enable_flash_attention")
    with pytest.raises(ValueError, match="tilewise"):
        model_of(DECODERS["Llama"], "tilewise")


@pytest.mark.usefixtures("enabled")
def test_weights_are_not_there() -> None:
    model = model_of(DECODERS["Llama"], "tilewise")
    module = model.model.layers[0].self_attn
    query = torch.zeros(1, 4, 3, 8)
    with pytest.warns(UserWarning, match="never has the weights"):
        found = face.attention_forward(module, query, query, query, None, output_attentions=True)
    assert found[1] is None


def test_masks_of_other_kinds() -> None:
    module = torch.nn.Module()
    query, key, value = (torch.randn(2, 4, n, 8) for n in (3, 5, 5))
    padding = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    visible = padding.bool()[:, None, None, :].expand(2, 1, 3, 5)
    added = torch.where(visible, 0.0, torch.finfo(torch.float32).min)
    wider = torch.cat((visible, visible), -1)  # of a static cache
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, visible)
    for mask in (padding, visible, added, wider):
        found, _ = face.attention_forward(module, query, key, value, mask)
        assert found.is_contiguous()
        close(found, wanted.transpose(1, 2))
    with pytest.raises(TypeError, match="attention_mask has dtype int64; make it bool"):
        face.attention_forward(module, query, key, value, visible.long())
    bias = torch.randn(1, 4, 3, 5)
    given = {"position_bias": bias, "scaling": 1.0}
    for mask in (visible, added):
        found, _ = face.attention_forward(module, query, key, value, mask, **given)
        wanted = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, torch.where(visible, bias, -1e30), scale=1.0
        )
        close(found, wanted.transpose(1, 2))
    learned = query[:1]
    found, _ = face.attention_forward(module, learned, key, value, None, is_causal=False)
    wanted = torch.nn.functional.scaled_dot_product_attention(
        learned.expand(2, -1, -1, -1), key, value
    )
    close(found, wanted.transpose(1, 2))


def test_a_sink_for_each_query() -> None:
    query, key, value = (torch.randn(2, 4, 5, 8, requires_grad=True) for _ in range(3))
    sinks = torch.randn(2, 4, 5, 1, requires_grad=True)
    module = SimpleNamespace(is_causal=True, training=True)
    found, _ = face.attention_forward(module, query, key, value, None, sinks=sinks)
    scores = query @ key.transpose(2, 3) / 8**0.5
    scores = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf)
    weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    wanted = (weights @ value).transpose(1, 2)
    close(found, wanted)
    inputs = (query, key, value, sinks)
    arriving = torch.randn_like(wanted)
    for one, other in zip(*(torch.autograd.grad(x, inputs, arriving) for x in (found, wanted))):
        close(one, other)


def test_the_kernel_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command: Any = importlib.import_module("tilewise.transformers.__main__")
    assert command.main(["kernel", str(tmp_path)]) == 0
    assert "__init__.py" in capsys.readouterr().out
    for variant, backend in (("torch-cpu", "cpu"), ("torch-cuda", "cuda")):
        place = tmp_path / "build" / variant
        metadata = json.loads((place / "metadata.json").read_text())
        assert metadata["backend"]["type"] == backend
        assert metadata["id"].isidentifier()
        content = (place / "__init__.py").read_bytes()
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert metadata["digest"]["files"] == {"__init__.py": digest}
        description = importlib.util.spec_from_file_location("kernel", place / "__init__.py")
        assert description is not None
        assert description.loader is not None
        module: Any = importlib.util.module_from_spec(description)
        description.loader.exec_module(module)
        forward = module.flash_attn_forward
        query, key, value = torch.randn(3, 1, 2, 5, 8)
        owner = SimpleNamespace(config=transformers.LlamaConfig(), is_causal=True)
        wanted = face.attention_forward(owner, query, key, value, None)[0]
        close(forward(owner, query, key, value, None)[0], wanted)
        owner.config = transformers.SplinterConfig()
        with pytest.raises(ValueError, match="SplinterConfig needs eager's masks"):
            forward(owner, query, key, value, None)
        assert module.supports_flash_attn
    assert command.main([]) == 2
    assert command.main(["--help"]) == 0


BY_NAME = """
import torch, transformers
config = transformers.LlamaConfig(
    vocab_size=50, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4
)
model = transformers.AutoModelForCausalLM.from_config(
    config, attn_implementation="tilewise/attention"
).eval()
tokens, mask = torch.arange(14).view(2, 7), torch.ones(2, 7, dtype=torch.int64)
mask[0, :3] = 0
found = model(tokens, attention_mask=mask).logits
model.set_attn_implementation("eager")
wanted = model(tokens, attention_mask=mask).logits
print(model.config._attn_implementation, (found - wanted)[mask.bool()].abs().max().item() < 1e-5)
model.set_attn_implementation("tilewise/attention")
print(model.config._attn_implementation)
"""


def test_the_kernel_folder_by_its_name(tmp_path: Path) -> None:
    if not transformers.utils.is_kernels_available():
        pytest.skip("no version of kernels that this transformers takes is installed")
    face.write_kernel_folder(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", BY_NAME],
        env={**os.environ, "LOCAL_KERNELS": f"tilewise/attention={tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["eager", "True", "tilewise/attention"]
