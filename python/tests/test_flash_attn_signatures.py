"""Names, order and defaults of all arguments, against a table of flash_attn's own."""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import Any

import pytest
from flash_cases import flash, parameters

# `name=default` or `name`, in order, `...` being a default that is no literal, as the packages have
# them: flash-attn 2.8.3, FlashAttention-3 of August 2026, flash-attn-4 4.0.0b36.
_A = (
    "dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,"
    " alibi_slopes=None, deterministic=False, return_attn_probs=False"
)
_C = (
    "softmax_scale=None, causal=False, qv=None, q_descale=None, k_descale=None, v_descale=None,"
    " window_size=(-1, -1), attention_chunk=0, softcap=0.0, num_splits=1, pack_gqa=None,"
    " deterministic=False, sm_margin=0, return_attn_probs=False"
)
_LENGTHS = "cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k"
_WINDOW = "causal, window_size_left, window_size_right, softcap, alibi_slopes"
_READ = "dout, q, k, v, out, softmax_lse"
_OF_4 = (
    "softmax_scale=None, causal=False, window_size=(None, None), learnable_sink=None, softcap=0.0,"
    " num_splits=1, pack_gqa=None, deterministic=False, score_mod=None, score_mod_bwd=None,"
    " mask_mod=None"
)
SIGNATURES = {
    "flash_attn": {
        "flash_attn_func": f"q, k, v, {_A}",
        "flash_attn_kvpacked_func": f"q, kv, {_A}",
        "flash_attn_qkvpacked_func": f"qkv, {_A}",
        "flash_attn_varlen_func": f"q, k, v, {_LENGTHS}, {_A}, block_table=None",
        "flash_attn_varlen_kvpacked_func": f"q, kv, {_LENGTHS}, {_A}",
        "flash_attn_varlen_qkvpacked_func": f"qkv, cu_seqlens, max_seqlen, {_A}",
        "flash_attn_with_kvcache": (
            "q, k_cache, v_cache, k=None, v=None, rotary_cos=None, rotary_sin=None,"
            " cache_seqlens=None, cache_batch_idx=None, cache_leftpad=None, block_table=None,"
            " softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,"
            " rotary_interleaved=True, alibi_slopes=None, num_splits=0, return_softmax_lse=False"
        ),
    },
    "flash_attn.flash_attn_interface": {
        "_flash_attn_forward": f"q, k, v, dropout_p, softmax_scale, {_WINDOW}, return_softmax",
        "_flash_attn_varlen_forward": (
            f"q, k, v, {_LENGTHS}, dropout_p, softmax_scale, causal, window_size_left=-1,"
            " window_size_right=-1, softcap=0.0, alibi_slopes=None, return_softmax=False,"
            " block_table=None, leftpad_k=None, seqused_k=None, zero_tensors=False, num_splits=0"
        ),
        "_flash_attn_backward": (
            f"{_READ}, dq, dk, dv, dropout_p, softmax_scale, {_WINDOW}, deterministic,"
            " rng_state=None"
        ),
        "_flash_attn_varlen_backward": (
            f"{_READ}, dq, dk, dv, {_LENGTHS}, dropout_p, softmax_scale, {_WINDOW}, deterministic,"
            " rng_state=None, zero_tensors=False"
        ),
        "_get_block_size_n": "device, head_dim, is_dropout, is_causal",
        "maybe_contiguous": "x",
        "round_multiple": "x, m",
    },
    "flash_attn.bert_padding": {
        "unpad_input": "hidden_states, attention_mask, unused_mask=None",
        "pad_input": "hidden_states, indices, batch, seqlen",
        "unpad_input_for_concatenated_sequences": "hidden_states, attention_mask_in_length",
        "index_first_axis": "x, indices",
        "index_put_first_axis": "values, indices, first_axis_dim",
        "index_first_axis_residual": "x, indices",
    },
    "flash_attn.layers.rotary": {
        "apply_rotary_emb": (
            "x, cos, sin, interleaved=False, inplace=False, seqlen_offsets=0, cu_seqlens=None,"
            " max_seqlen=None"
        ),
        "apply_rotary_emb_torch": "x, cos, sin, interleaved=False",
        "rotate_half": "x, interleaved=False",
        "apply_rotary_emb_qkv_": (
            "qkv, cos, sin, cos_k=None, sin_k=None, interleaved=False, seqlen_offsets=0,"
            " num_heads_q=None"
        ),
        "apply_rotary_emb_kv_": "kv, cos, sin, interleaved=False, seqlen_offsets=0",
        "RotaryEmbedding": "dim, base=10000.0, interleaved=False, scale_base=None, device=None",
        "RotaryEmbedding.forward": (
            "self, qkv, kv=None, seqlen_offset=0, max_seqlen=None, num_heads_q=None"
        ),
    },
    "flash_attn.ops.triton.rotary": {
        "apply_rotary": (
            "x, cos, sin, seqlen_offsets=0, cu_seqlens=None, max_seqlen=None, interleaved=False,"
            " inplace=False, conjugate=False"
        ),
    },
    "flash_attn.modules.mha": {
        "get_alibi_slopes": "nheads",
        "FlashSelfAttention": (
            "causal=False, softmax_scale=None, attention_dropout=0.0, window_size=(-1, -1),"
            " alibi_slopes=None, deterministic=False"
        ),
        "FlashSelfAttention.forward": "self, qkv, causal=None, cu_seqlens=None, max_seqlen=None",
        "FlashCrossAttention": (
            "causal=False, softmax_scale=None, attention_dropout=0.0, alibi_slopes=None,"
            " window_size=(-1, -1), deterministic=False"
        ),
        "FlashCrossAttention.forward": (
            "self, q, kv, causal=None, cu_seqlens=None, max_seqlen=None, cu_seqlens_k=None,"
            " max_seqlen_k=None"
        ),
        "SelfAttention": "causal=False, softmax_scale=None, attention_dropout=0.0",
        "SelfAttention.forward": "self, qkv, causal=None, key_padding_mask=None",
        "CrossAttention": "causal=False, softmax_scale=None, attention_dropout=0.0",
        "CrossAttention.forward": "self, q, kv, causal=None, key_padding_mask=None",
        "MHA": (
            "embed_dim, num_heads, num_heads_kv=None, cross_attn=False, qkv_proj_bias=True,"
            " out_proj_bias=True, dropout=0.0, softmax_scale=None, causal=False, layer_idx=None,"
            " dwconv=False, rotary_emb_dim=0, rotary_emb_base=10000.0, rotary_emb_scale_base=None,"
            " rotary_emb_interleaved=False, use_alibi=False, window_size=(-1, -1),"
            " fused_bias_fc=False, use_flash_attn=False, return_residual=False,"
            " checkpointing=False, device=None, dtype=None"
        ),
        "MHA.forward": (
            "self, x, x_kv=None, key_padding_mask=None, cu_seqlens=None, max_seqlen=None,"
            " mixer_subset=None, inference_params=None, kwargs=..."
        ),
    },
    "flash_attn.flash_attn_3.flash_attn_interface": {
        "flash_attn_func": f"q, k, v, {_C}",
        "flash_attn_varlen_func": (f"q, k, v, {_LENGTHS}, seqused_q=None, seqused_k=None, {_C}"),
        "flash_attn_qkvpacked_func": (
            "qkv, softmax_scale=None, causal=False, q_descale=None, k_descale=None,"
            " v_descale=None, window_size=(-1, -1), attention_chunk=0, softcap=0.0,"
            " deterministic=False, num_heads_q=None, sm_margin=0, return_attn_probs=False"
        ),
        "flash_attn_with_kvcache": (
            "q, k_cache, v_cache, k=None, v=None, qv=None, rotary_cos=None, rotary_sin=None,"
            " cache_seqlens=None, cache_batch_idx=None, cache_leftpad=None, page_table=None,"
            " cu_seqlens_q=None, cu_seqlens_k_new=None, max_seqlen_q=None, rotary_seqlens=None,"
            " q_descale=None, k_descale=None, v_descale=None, softmax_scale=None, causal=False,"
            " window_size=(-1, -1), attention_chunk=0, softcap=0.0, rotary_interleaved=True,"
            " scheduler_metadata=None, num_splits=0, pack_gqa=None, sm_margin=0,"
            " return_softmax_lse=False"
        ),
        "flash_attn_combine": "out_partial, lse_partial, out=None, out_dtype=None",
        "get_scheduler_metadata": (
            "batch_size, max_seqlen_q, max_seqlen_k, num_heads_q, num_heads_kv, headdim,"
            " cache_seqlens, qkv_dtype=..., headdim_v=None, cu_seqlens_q=None,"
            " cu_seqlens_k_new=None, cache_leftpad=None, page_size=None, max_seqlen_k_new=0,"
            " causal=False, window_size=(-1, -1), attention_chunk=0, has_softcap=False,"
            " num_splits=0, pack_gqa=None, sm_margin=0"
        ),
        "_flash_attn_forward": (
            "q, k, v, k_new=None, v_new=None, qv=None, out_=None, cu_seqlens_q=None,"
            " cu_seqlens_k=None, cu_seqlens_k_new=None, seqused_q=None, seqused_k=None,"
            " max_seqlen_q=None, max_seqlen_k=None, page_table=None, kv_batch_idx=None,"
            " leftpad_k=None, rotary_cos=None, rotary_sin=None, seqlens_rotary=None,"
            " q_descale=None, k_descale=None, v_descale=None, softmax_scale=None, causal=False,"
            " window_size_left=-1, window_size_right=-1, attention_chunk=0, softcap=0.0,"
            " rotary_interleaved=True, scheduler_metadata=None, num_splits=1, pack_gqa=None,"
            " sm_margin=0, s_aux=None"
        ),
        "_flash_attn_backward": (
            f"{_READ}, cu_seqlens_q=None, cu_seqlens_k=None, sequed_q=None, sequed_k=None,"
            " max_seqlen_q=None, max_seqlen_k=None, dq=None, dk=None, dv=None, softmax_scale=None,"
            " is_causal=False, window_size_left=-1, window_size_right=-1, softcap=0.0,"
            " deterministic=False, sm_margin=0"
        ),
    },
    "flash_attn.cute.interface": {
        "flash_attn_func": (
            f"q, k, v, qv=None, gather_kv_indices=None, {_OF_4}, aux_tensors=None,"
            " aux_scalars=None, block_sparse_tensors=None, block_sparse_tensors_bwd=None,"
            " return_lse=False, gather_bwd_recompute_p=False, gather_bwd_token_chunk=None"
        ),
        "flash_attn_varlen_func": (
            "q, k, v, qv=None, cu_seqlens_q=None, cu_seqlens_k=None, max_seqlen_q=None,"
            " max_seqlen_k=None, min_seqlen_k=None, seqused_q=None, seqused_k=None,"
            f" gather_kv_indices=None, page_table=None, {_OF_4}, block_sparse_tensors=None,"
            " aux_tensors=None, aux_scalars=None, return_lse=False, scheduler_metadata=None,"
            " seqlen_k_per_split=None, disable_scheduler_metadata=False,"
            " gather_bwd_recompute_p=False, gather_bwd_token_chunk=None"
        ),
        "flash_attn_combine": (
            "out_partial, lse_partial, out=None, out_dtype=None, cu_seqlens=None, seqused=None,"
            " virtual_batch_idx=None, return_lse=True"
        ),
        "get_scheduler_metadata": (
            "max_seqlen_q, max_seqlen_k, nheads, nheads_kv, headdim, num_splits, headdim_v=None,"
            " pack_gqa=None, causal=False, window_size_left=None, window_size_right=None,"
            " seqlen_k_new=0, cu_seqlens_q=None, cu_seqlens_k=None, cu_seqlens_k_new=None,"
            " seqused_q=None, seqused_k=None, leftpad_k=None, seqlen_k_per_split=None, _arch=None"
        ),
        "_flash_attn_fwd": (
            "q, k, v, qv=None, cu_seqlens_q=None, cu_seqlens_k=None, seqused_q=None,"
            " seqused_k=None, max_seqlen_q=None, max_seqlen_k=None, min_seqlen_k=None,"
            " page_table=None, softmax_scale=None, causal=False, softcap=None,"
            " window_size_left=None, window_size_right=None, learnable_sink=None, tile_mn=None,"
            " mma_pv_is_rs=None, intra_wg_overlap=None, num_threads=384, num_splits=1,"
            " pack_gqa=None, _arch=None, score_mod=None, mask_mod=None, block_sparse_tensors=None,"
            " return_lse=False, out=None, lse=None, aux_tensors=None, aux_scalars=None,"
            " q_descale=None, k_descale=None, v_descale=None, gather_kv_indices=None,"
            " scheduler_metadata=None, seqlen_k_per_split=None, disable_scheduler_metadata=False,"
            " gather_bwd_recompute_p=False"
        ),
        "_flash_attn_bwd": (
            "q, k, v, out, dout, lse, softmax_scale=None, causal=False, softcap=0.0,"
            " window_size_left=None, window_size_right=None, m_block_size=64, n_block_size=128,"
            " num_threads=256, pack_gqa=False, num_stages_Q=2, num_stages_dO=2, SdP_swapAB=False,"
            " dKV_swapAB=False, dQ_swapAB=False, AtomLayoutMSdP=2, AtomLayoutNdKV=2,"
            " AtomLayoutMdQ=2, V_in_regs=False, cu_seqlens_q=None, cu_seqlens_k=None,"
            " seqused_q=None, seqused_k=None, max_seqlen_q=None, max_seqlen_k=None,"
            " deterministic=False, dq=None, dk=None, dv=None, score_mod=None, score_mod_bwd=None,"
            " mask_mod=None, aux_tensors=None, aux_scalars=None, block_sparse_tensors=None,"
            " dlse=None, learnable_sink=None"
        ),
    },
}
CASES = [(module, name) for module, names in SIGNATURES.items() for name in names]
POSITIONAL = {  # how many arguments the compiled part takes
    "fwd": 13,
    "varlen_fwd": 22,
    "bwd": 19,
    "varlen_bwd": 24,
    "fwd_kvcache": 20,
}


def expected(text: str) -> list[tuple[str, Any]]:
    """Names and defaults of a line of the table."""
    signature: Any = ast.parse(f"def f({text}): pass").body[0]
    names = [argument.arg for argument in signature.args.args]
    defaults = [ast.literal_eval(node) for node in signature.args.defaults]
    return list(zip(names, [inspect.Parameter.empty] * (len(names) - len(defaults)) + defaults))


@pytest.mark.parametrize(("module", "name"), CASES, ids=lambda x: str(x))
def test_signature(module: str, name: str) -> None:
    found: Any = importlib.import_module(f"tilewise.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    wanted = expected(SIGNATURES[module][name])
    given = parameters(found)
    assert [x for x, _ in given] == [x for x, _ in wanted]
    for (argument, one), (_, other) in zip(given, wanted):
        if other is not ...:
            assert one == other, argument


@pytest.mark.parametrize(("name", "count"), POSITIONAL.items())
def test_the_compiled_part_takes_as_many(name: str, count: int) -> None:
    module: Any = importlib.import_module("tilewise.flash_attn.flash_attn_2_cuda")
    assert len(parameters(getattr(module, name))) == count


def test_what_transformers_looks_for_in_a_signature() -> None:
    names = set(inspect.signature(flash.flash_attn_varlen_func).parameters)
    assert {"dropout_p", "window_size", "deterministic", "softcap", "s_aux", "block_table"} <= names
    names = set(inspect.signature(flash.flash_attn_with_kvcache).parameters)
    assert {"window_size", "softcap", "s_aux", "block_table", "cache_seqlens"} <= names


def test_names_at_the_top() -> None:
    for name in SIGNATURES["flash_attn"]:
        assert name in dir(flash)
        assert getattr(flash, name).__doc__
    brought: dict[str, Any] = {}
    exec("from tilewise.flash_attn import *", brought)
    assert brought.keys() - {"__builtins__"} == SIGNATURES["flash_attn"].keys()
    assert not {"Any", "TYPE_CHECKING", "annotations", "importlib"} & {*dir(flash)}
    assert flash.__version__ == "2.8.3"
    generation: Any = importlib.import_module("tilewise.flash_attn.utils.generation")
    wanted = (
        "max_seqlen, max_batch_size, seqlen_offset=0, batch_size_offset=0,"
        " key_value_memory_dict=..., lengths_per_sample=None"
    )
    found = [name for name, _ in parameters(generation.InferenceParams)]
    assert found == [name for name, _ in expected(wanted)]
