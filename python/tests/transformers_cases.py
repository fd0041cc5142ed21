"""Small random models of Transformers for the tests of its face."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
from torch_cases import torch

transformers: Any = pytest.importorskip("transformers", reason="transformers is not installed")
face: Any = importlib.import_module("tilewise.transformers")
transformers.logging.set_verbosity_error()

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}
WITHOUT_GROUPS = {
    name: x for name, x in SIZES.items() if name not in ("num_key_value_heads", "head_dim")
}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "n_positions": 64}
# Name: the configuration's class, the model's, and what the configuration is given.
DECODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "GPT-2": ("GPT2Config", "GPT2LMHeadModel", {**SMALL_GPT2, "pad_token_id": 0}),
    "Llama": ("LlamaConfig", "LlamaForCausalLM", SIZES),
    "Mistral": ("MistralConfig", "MistralForCausalLM", {**SIZES, "sliding_window": 4}),
    "Qwen-3": ("Qwen3Config", "Qwen3ForCausalLM", SIZES),
    "Gemma-2": (
        "Gemma2Config",
        "Gemma2ForCausalLM",
        {**SIZES, "sliding_window": 4, "attn_logit_softcapping": 3.0, "query_pre_attn_scalar": 5},
    ),
    "Gemma-3": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        {**SIZES, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gpt-oss": ("GptOssConfig", "GptOssForCausalLM", {**SIZES, **EXPERTS, "sliding_window": 4}),
    "Llama-4": (
        "Llama4TextConfig",
        "Llama4ForCausalLM",
        {**SIZES, **EXPERTS, "attention_chunk_size": 4, "intermediate_size_mlp": 32},
    ),
}
ENCODERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "BERT": ("BertConfig", "BertForMaskedLM", WITHOUT_GROUPS),
    "ModernBERT": (
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        {**WITHOUT_GROUPS, "local_attention": 6, "global_attn_every_n_layers": 2},
    ),
}

# Transformers refuses "sdpa" for these: their masks are eager's alone.
OF_EAGER: dict[str, tuple[str, str, dict[str, Any]]] = {
    "NLLB-MoE": (
        "NllbMoeConfig",
        "NllbMoeForConditionalGeneration",
        {
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "num_experts": 2,
            "vocab_size": 50,
            "pad_token_id": 0,
            "decoder_start_token_id": 1,
        },
    ),
    "DeepSeek-V4": (
        "DeepseekV4Config",
        "DeepseekV4ForCausalLM",
        {
            **SIZES,
            "moe_intermediate_size": 16,
            "n_routed_experts": 2,
            "num_experts_per_tok": 1,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 4,
            "sliding_window": 4,
        },
    ),
}


def model_of(case: tuple[str, str, dict[str, Any]], implementation: str = "eager") -> Any:
    """A random model, the same each time."""
    config = getattr(transformers, case[0])(**case[2])
    torch.manual_seed(7)
    kind = getattr(transformers, case[1])
    model = kind._from_config(config, attn_implementation=implementation)
    for name, parameter in model.named_parameters():
        if "sinks" in name:
            torch.nn.init.normal_(parameter)
    return model.eval()


def tokens(batch: int = 2, length: int = 11, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, 50, (batch, length), generator=generator)


def padded(side: str, batch: int = 2, length: int = 11) -> Any:
    """Tokens and a mask with padding on this side of the second sequence."""
    ids, mask = tokens(batch, length), torch.ones(batch, length, dtype=torch.long)
    rows = slice(0, 4) if side == "left" else slice(length - 4, length)
    mask[1, rows] = 0
    return ids * mask, mask


def switched(model: Any, implementation: str) -> Any:
    model.set_attn_implementation(implementation)
    assert model.config._attn_implementation == implementation
    return model


def quietly(function: Any, *arguments: Any, **given: Any) -> Any:
    """Transformers warns of much that is nobody's business here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **given)
