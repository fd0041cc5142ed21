"""Every text model that takes an attention implementation while its class refuses SDPA."""

from __future__ import annotations

import inspect
from collections import Counter
from typing import Any, Union

import pytest
from torch_cases import close, torch
from transformers_cases import face, padded, quietly, switched, tokens, transformers

masks: Any = pytest.importorskip("tilewise.transformers._masks")
auto: Any = pytest.importorskip("transformers.models.auto.modeling_auto")

pytestmark = pytest.mark.filterwarnings("ignore")

LISTS = ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "QUESTION_ANSWERING")
WIDTH = [
    "hidden_size",
    "d_model",
    "n_embd",
    "embed_dim",
    "embedding_size",
    "intermediate_size",
    "ffn_dim",
    "d_ff",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "n_inner",
]
LAYERS = [
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_decoder_layers",
    "encoder_layers",
    "decoder_layers",
]
HEADS = [
    "num_attention_heads",
    "n_head",
    "n_heads",
    "num_heads",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "sliding_window",
]
SIZES: dict[str, Any] = {
    **dict.fromkeys(WIDTH, 32),
    **dict.fromkeys(LAYERS, 2),
    **dict.fromkeys(HEADS, 4),
    **dict.fromkeys(("head_dim", "d_kv", "qk_rope_head_dim", "qk_nope_head_dim"), 8),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "moe_intermediate_size"), 16),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 128),
    "v_head_dim": 12,
    "vocab_size": 50,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
SIZES["vision_config"] = {name: SIZES[name] for name in (*WIDTH[:1], *LAYERS[:1], *HEADS[:1])}
# These at least are compared, where the installed Transformers has them. Those of the first line
# give other outputs than eager with the masks of SDPA.
KNOWN = ["bigbird_pegasus", "deepseek_v4", "git", "nllb-moe", "pegasus_x", "splinter"]
# Their attention is their own, or there is none: they never call an implementation by its name.
ALONE = ["fnet", "git"]
KNOWN += ["gemma2", "gpt_oss", "longt5", "switch_transformers", "vaultgemma"]


def candidates() -> dict[str, Any]:
    """A class for each type of model that refuses SDPA and takes names of implementations."""
    found: dict[str, Any] = {}
    for each in LISTS:
        for kind, name in getattr(auto, f"MODEL_FOR_{each}_MAPPING_NAMES").items():
            try:
                model = getattr(transformers, name[0] if isinstance(name, tuple) else name)
            except (ImportError, AttributeError):
                continue  # needs a package that is not here
            # What stands for such a model has no class method of its own.
            if not hasattr(model, "_can_set_attn_implementation"):
                continue
            if not model._supports_sdpa and model._can_set_attn_implementation():
                found.setdefault(kind, model)
    return found


def small(model: Any) -> Any:
    """A small random model of this class; None where these sizes do not make one."""
    default = model.config_class()
    if getattr(default, "text_config", None) is not None:
        return None
    given: dict[str, Any] = {
        name: size
        for name, size in SIZES.items()
        if getattr(default, name, None) is not None
        and name not in default.attribute_map
        and not isinstance(inspect.getattr_static(type(default), name, None), property)
    }
    for name in ("layer_types", "mlp_layer_types"):
        kinds = getattr(default, name, None)
        if kinds:
            given[name] = (list(dict.fromkeys(kinds)) * 2)[:2]
    torch.manual_seed(7)
    try:
        config = model.config_class(**given)
        with torch.device("meta"):
            count = sum(x.numel() for x in model(config).parameters())
        if count > 1e7:
            return None
        made = model(config).eval()
    except Exception:
        return None
    for parameter in made.parameters():
        if parameter.dim() == 2:
            parameter.data.mul_(3)  # so that attention is seen in the result
    return made


def farthest(model: Any) -> float | None:
    """How far "tilewise" is from eager at most, in parts of eager's largest number.

    None where eager itself cannot run the model.
    """
    worst = 0.0
    for side in ("none", "left", "right"):
        ids, mask = padded("right" if side == "none" else side)
        if side == "none":
            ids, mask = tokens(), torch.ones_like(mask)
        given = {"input_ids": ids, "attention_mask": mask}
        if model.config.is_encoder_decoder:
            given["decoder_input_ids"] = tokens(2, 7, seed=1)
        with torch.no_grad():
            try:
                wanted = quietly(switched(model, "eager"), **given)[0]
            except Exception:
                return None
            found = quietly(switched(model, "tilewise"), **given)[0]
        if wanted.shape[:2] == mask.shape:
            wanted, found = wanted[mask.bool()], found[mask.bool()]
        worst = max(worst, float((found - wanted).abs().max() / wanted.abs().max()))
    return worst


def test_models_that_refuse_sdpa() -> None:
    face.enable()
    far: dict[str, float] = {}
    calls: Counter[str] = Counter()
    kind = ""

    def counted(*given: Any, **named: Any) -> Any:
        calls[kind] += 1
        return face.attention_forward(*given, **named)

    transformers.AttentionInterface.register("tilewise", counted)
    try:
        there = candidates()
        for kind, model in there.items():
            made = small(model)
            distance = None if made is None else farthest(made)
            if distance is not None:
                far[kind] = distance
    finally:
        face.disable()
    assert far
    assert {kind: x for kind, x in far.items() if not x < 5e-5} == {}
    assert [kind for kind in KNOWN if kind in there and kind not in far] == []
    assert [kind for kind in far if (kind in ALONE) == (calls[kind] > 0)] == []


def test_without_a_mask_a_model_of_eager_sees_all_keys() -> None:
    query, key, value = torch.randn(3, 1, 2, 5, 8)
    module = torch.nn.Module()
    for name, is_causal in (("SplinterModel", False), ("LlamaModel", True)):
        module.config = getattr(transformers, name).config_class()
        found, _ = face.attention_forward(module, query, key, value, None)
        wanted = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, is_causal=is_causal
        )
        close(found, wanted.transpose(1, 2))


def test_informer() -> None:
    """Informer's decoder has causality in the mask alone."""
    layers = dict.fromkeys(("encoder_layers", "decoder_layers"), 2)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4)
    times = {"prediction_length": 6, "context_length": 8, "lags_sequence": [1, 2]}
    config = transformers.InformerConfig(
        **layers, **heads, **times, d_model=32, num_time_features=1, dropout=0.0
    )
    model = transformers.InformerModel(config).eval()
    given = {"past_observed_mask": torch.ones(2, 10)}
    for name, length in (("past", 10), ("future", 6)):
        given[f"{name}_values"] = torch.randn(2, length)
        given[f"{name}_time_features"] = torch.randn(2, length, 1)
    face.enable()
    found = []
    try:
        for implementation in ("tilewise", "eager"):
            torch.manual_seed(1)  # it samples keys
            with torch.no_grad():
                found.append(quietly(switched(model, implementation), **given)[0])
    finally:
        face.disable()
    close(found[0], found[1], 2e-5)


def test_what_a_class_of_transformers_says_counts() -> None:
    for name in ("Gemma2Model", "GptOssModel", "LlamaModel"):
        assert not masks.needs_eager_masks(getattr(transformers, name).config_class)
    splinter = transformers.SplinterModel.config_class
    assert masks.needs_eager_masks(splinter)
    assert masks.needs_eager_masks(type("Larger", (splinter,), {}))
    assert not masks.needs_eager_masks(type(None))


def test_models_of_others_change_no_answer() -> None:
    llama, base = transformers.LlamaConfig, transformers.PretrainedConfig
    before, after = (type(name, (llama,), {}) for name in ("Before", "After"))
    alone = type("Alone", (base,), {"model_type": "tilewise_test"})
    for kind in (before, after, alone):
        if kind is not after:
            assert not masks.needs_eager_masks(kind)
        for config in (kind, base):  # a wrapper without flags, and one for any configuration
            type("Wrapper", (transformers.PreTrainedModel,), {"config_class": config})
        assert not masks.needs_eager_masks(kind)
    assert masks.needs_eager_masks(transformers.SplinterModel.config_class)


def test_a_model_of_transformers_may_take_two_configurations() -> None:
    place = {"__module__": "transformers.models.of_a_test"}
    kinds = [type(name, (transformers.PretrainedConfig,), place) for name in ("First", "Second")]
    assert not masks.needs_eager_masks(kinds[0])  # nothing is known of it yet
    body = {**place, "config_class": Union[tuple(kinds)]}
    model = type("Model", (transformers.PreTrainedModel,), body)
    assert [masks.needs_eager_masks(kind) for kind in kinds] == [True, True]
    del model


def test_an_own_model_without_flags_stays_causal() -> None:
    """A user's model that calls Llama's attention without a mask, and says nothing of SDPA."""
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")

    class OwnConfig(transformers.LlamaConfig):  # type: ignore[misc]
        model_type = "tilewise_own"

    class Own(transformers.PreTrainedModel):  # type: ignore[misc]
        config_class = OwnConfig

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.attention = llama.LlamaAttention(config, 0)
            self.rotary = llama.LlamaRotaryEmbedding(config)
            self.post_init()

        def forward(self, x: Any) -> Any:
            places = self.rotary(x, torch.arange(x.shape[1])[None])
            return self.attention(x, places, None)[0]

    config = OwnConfig(hidden_size=32, num_attention_heads=4, num_key_value_heads=2)
    face.enable()
    try:
        model = Own(config).eval()
        model.config._attn_implementation = "tilewise"
        x = torch.randn(1, 6, 32)
        later = torch.cat((x[:, :-1], x[:, -1:] + 5), 1)
        with torch.no_grad():
            found, other = model(x), model(later)
    finally:
        face.disable()
    assert torch.equal(found[:, :-1], other[:, :-1])
    assert not torch.equal(found[:, -1], other[:, -1])
