"""Models of Transformers with tilewise against eager and SDPA: losses, gradients, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch_cases import close, torch
from transformers_cases import (
    DECODERS,
    ENCODERS,
    OF_EAGER,
    face,
    model_of,
    padded,
    quietly,
    switched,
    tokens,
    transformers,
)

pytestmark = pytest.mark.filterwarnings("ignore")
# Gemma-2 has a softcap, T5 a bias and gpt-oss sinks, which SDPA has not.
WITHOUT_SDPA = ("Gemma-2", "gpt-oss")


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    face.enable()
    yield
    face.disable()


def others(name: str) -> list[str]:
    return ["eager"] if name in WITHOUT_SDPA else ["eager", "sdpa"]


def results(model: Any, given: dict[str, Any], counted: Any = None) -> Any:
    """Logits where they count, loss and the gradients of all parameters."""
    model.zero_grad()
    found = quietly(model, **given)
    loss = found.loss if found.loss is not None else found[0].square().mean()
    loss.backward()
    logits = found[0] if found.loss is None else found.logits
    logits = logits.detach() if counted is None else logits.detach()[counted.bool()]
    return logits, loss.detach(), {n: p.grad for n, p in model.named_parameters()}


def same(model: Any, names: list[str], given: dict[str, Any], counted: Any = None) -> None:
    logits, loss, gradients = results(switched(model, "tilewise"), given, counted)
    for name in names:
        wanted = results(switched(model, name), given, counted)
        close(logits, wanted[0], 2e-5)
        close(loss, wanted[1], 2e-5)
        for parameter, gradient in wanted[2].items():
            if gradient is not None:
                close(gradients[parameter], gradient, 5e-5)


@pytest.mark.parametrize("side", ["none", "left", "right"])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name: str, side: str) -> None:
    model = model_of(DECODERS[name])
    if side == "none":
        ids = tokens()
        same(model, others(name), {"input_ids": ids, "labels": ids})
        return
    ids, mask = padded(side)
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, 4] = -100  # on the left its prediction comes from padding, which sees nothing
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    same(model, others(name), given, mask)


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Gemma-3"])
def test_packed_position_ids(name: str) -> None:
    """Two sequences in one row see themselves alone."""
    model = switched(model_of(DECODERS[name]), "tilewise")
    ids = tokens(1, 11)
    position = torch.cat((torch.arange(6), torch.arange(5)))[None]
    found = quietly(model, ids, position_ids=position, use_cache=False).logits
    apart = [quietly(model, ids[:, rows]).logits for rows in (slice(0, 6), slice(6, 11))]
    close(found, torch.cat(apart, 1), 2e-5)


@pytest.mark.parametrize("side", ["none", "right"])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name: str, side: str) -> None:
    model = model_of(ENCODERS[name])
    ids, mask = padded("right") if side == "right" else (tokens(), torch.ones(2, 11).long())
    labels = ids.masked_fill(mask == 0, -100)
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    same(model, ["eager", "sdpa"], given, mask)


def test_t5_has_a_bias_that_learns() -> None:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 4}
    more = {"vocab_size": 50, "pad_token_id": 0, "decoder_start_token_id": 0}
    case = ("T5Config", "T5ForConditionalGeneration", {**sizes, **more})
    model = model_of(case)
    ids, mask = padded("right")
    given = {"input_ids": ids, "attention_mask": mask, "labels": tokens(2, 7, seed=1)}
    same(model, ["eager"], given)
    wanted = quietly(switched(model, "eager").generate, ids, attention_mask=mask, max_new_tokens=6)
    found = quietly(
        switched(model, "tilewise").generate, ids, attention_mask=mask, max_new_tokens=6
    )
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("side", ["none", "right"])
@pytest.mark.parametrize("name", OF_EAGER)
def test_models_that_know_eagers_masks_alone(name: str, side: str) -> None:
    case = OF_EAGER[name]
    if not hasattr(transformers, case[0]):
        pytest.skip("this Transformers does not have it yet")
    model = model_of(case)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.data.mul_(3)  # so that attention is seen in the result
    ids, mask = padded("right")
    if side == "none":
        ids, mask = tokens(), torch.ones_like(mask)
    given = {"input_ids": ids, "attention_mask": mask}
    if name == "NLLB-MoE":
        given["labels"] = tokens(2, 7, seed=1)
    same(model, ["eager"], given)


def test_whisper_crosses() -> None:
    sizes = {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_mel_bins": 8,
        "max_source_positions": 20,
        "max_target_positions": 30,
        "vocab_size": 50,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    case = ("WhisperConfig", "WhisperForConditionalGeneration", sizes)
    model = model_of(case)
    sounds = torch.randn(2, 8, 40, generator=torch.Generator().manual_seed(1))
    given = {"input_features": sounds, "labels": tokens(2, 7)}
    same(model, ["eager", "sdpa"], given)


def test_vit() -> None:
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 32,
        "image_size": 16,
        "patch_size": 4,
    }
    model = model_of(("ViTConfig", "ViTForImageClassification", sizes))
    pictures = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    given = {"pixel_values": pictures, "labels": torch.tensor([0, 1])}
    same(model, ["eager", "sdpa"], given)


GENERATION: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampled": {"do_sample": True, "top_k": 20},
    "beam": {"do_sample": False, "num_beams": 3},
    "static": {"do_sample": False, "cache_implementation": "static", "disable_compile": True},
    "no cache": {"do_sample": False, "use_cache": False},
}


def generated(model: Any, implementation: str, ids: Any, mask: Any, given: Any) -> Any:
    torch.manual_seed(3)
    model = switched(model, implementation)
    options = {"max_new_tokens": 9, "pad_token_id": 0, **given}
    return quietly(model.generate, ids, attention_mask=mask, **options)


@pytest.mark.parametrize("way", GENERATION)
@pytest.mark.parametrize("name", ["GPT-2", "Llama", "Mistral"])
def test_generate(name: str, way: str) -> None:
    model = model_of(DECODERS[name])
    ids, mask = padded("left")
    found = generated(model, "tilewise", ids, mask, GENERATION[way])
    assert found.shape == (2, 20)
    for implementation in others(name):
        assert torch.equal(found, generated(model, implementation, ids, mask, GENERATION[way]))


@pytest.mark.parametrize("name", ["Gemma-2", "Gemma-3", "gpt-oss", "Llama-4", "Qwen-3"])
def test_generate_greedily(name: str) -> None:
    model = model_of(DECODERS[name])
    ids, mask = padded("left")
    found = generated(model, "tilewise", ids, mask, {"do_sample": False})
    assert torch.equal(found, generated(model, "eager", ids, mask, {"do_sample": False}))


def test_a_prompt_in_parts() -> None:
    """A prompt in parts, some of several queries, over a cache that holds the parts before."""
    model = switched(model_of(DECODERS["Mistral"]), "tilewise")
    ids = tokens(2, 12)
    whole = quietly(model, ids).logits
    cache = transformers.DynamicCache(config=model.config)
    parts = [
        quietly(model, ids[:, rows], past_key_values=cache, use_cache=True).logits
        for rows in (slice(0, 5), slice(5, 9), slice(9, 10), slice(10, 12))
    ]
    close(torch.cat(parts, 1), whole, 2e-5)


def test_checkpoints_and_dropout() -> None:
    config = {**DECODERS["GPT-2"][2], "attn_pdrop": 0.5, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    model = switched(model_of((*DECODERS["GPT-2"][:2], config)), "tilewise").train()
    given = {"input_ids": tokens(), "labels": tokens()}
    torch.manual_seed(1)
    once = results(model, given)
    model.gradient_checkpointing_enable()
    torch.manual_seed(1)
    again = results(model, given)
    close(again[1], once[1])
    for name, gradient in once[2].items():
        close(again[2][name], gradient)
    assert results(model, given)[1] != once[1]
    model.eval()
    assert results(model, given)[1] == results(model, given)[1]


def test_lower_types() -> None:
    model = model_of(DECODERS["Llama"])
    wanted = quietly(switched(model, "sdpa"), tokens()).logits
    model = model.to(torch.bfloat16)
    found = quietly(switched(model, "tilewise"), tokens()).logits
    assert found.dtype == torch.bfloat16
    close(found.float(), wanted, 3e-2)


def test_compiled() -> None:
    model = switched(model_of(DECODERS["Llama"]), "tilewise")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        found = quietly(compiled, tokens(), use_cache=False).logits
        close(found, quietly(model, tokens(), use_cache=False).logits)
