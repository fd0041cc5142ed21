"""Bad input of the flash_attn face: what is raised, and that it names the caller's arguments."""

from __future__ import annotations

import importlib
from typing import Any, Callable

import pytest
from flash_cases import flash, made
from torch_cases import torch

three: Any = importlib.import_module("tilewise.flash_attn.flash_attn_3.flash_attn_interface")
four: Any = importlib.import_module("tilewise.flash_attn.cute.interface")
layers: Any = importlib.import_module("tilewise.flash_attn.layers.rotary")
old: Any = importlib.import_module("tilewise.flash_attn.flash_attn_interface")
padding: Any = importlib.import_module("tilewise.flash_attn.bert_padding")
mha: Any = importlib.import_module("tilewise.flash_attn.modules.mha")

Q: Any = made(2, 5, 4, 16, grad=False)
K, V = made(2, 2, 6, 2, 16, grad=False)
FLAT = made(10, 4, 16, grad=False)
NEW = made(2, 1, 4, 16, grad=False)
CACHES = made(2, 2, 4, 4, 16, grad=False)
PAGES = made(2, 4, 2, 4, 16, grad=False)
TABLE = torch.ones(6, 8)


def numbers(*given: int) -> Any:
    return torch.tensor(given, dtype=torch.int32)


def call(function: Callable[..., Any], *arrays: Any, **options: Any) -> Callable[[], Any]:
    return lambda: function(*arrays, **options)


def dense(**options: Any) -> Callable[[], Any]:
    return call(flash.flash_attn_func, Q, K, V, **options)


def packed(q_ends: Any, k_ends: Any, module: Any = flash, **options: Any) -> Callable[[], Any]:
    given = {"cu_seqlens_q": q_ends, "cu_seqlens_k": k_ends, "max_seqlen_q": 9, "max_seqlen_k": 9}
    return call(module.flash_attn_varlen_func, FLAT, FLAT, FLAT, **given, **options)


def cached(module: Any = flash, caches: Any = CACHES, **options: Any) -> Callable[[], Any]:
    return call(module.flash_attn_with_kvcache, NEW, *caches, **options)


def wrong_caches(module: Any, **options: Any) -> list[tuple[Callable[[], Any], str]]:
    """Caches that do not fit q, with sentences that call them by their names."""
    k, v = CACHES
    caches = [
        ((k[..., :8], v), "k_cache has dim 8 but q has 16"),
        ((k.half(), v), "k_cache is float16 but q is float32: q, k_cache and v_cache share"),
        ((k[:, :, :3], v), "k_cache has 3 heads but q has 4"),
        ((k, v[:, :, :2]), "v_cache has 2 heads but k_cache has 4"),
        ((k[0], v), r"k_cache has 3 dimensions, .* \(batch, length, heads, dim\)\.$"),
        ((k, v[0]), r"v_cache has 3 dimensions, .* \(batch, length, heads, dim\)\.$"),
    ]
    return [(cached(module, given, **options), sentence) for given, sentence in caches]


def longest(given: Any) -> tuple[Callable[[], Any], str]:
    ends = numbers(0, 10)
    function = call(flash.flash_attn_varlen_func, FLAT, FLAT, FLAT, ends, ends, given, 10)
    return function, "max_seqlen_q and max_seqlen_k must be integers"


FIVE = made(2, 5, 3, 4, 16, grad=False)
IN_PAGES = numbers(0, 9, 1, 2).view(2, 2)
CASES: list[tuple[Callable[[], Any], str]] = [
    (dense(window_size=3), "window_size is 3; pass two integers"),
    (dense(window_size=None), "window_size is None; pass two"),
    (dense(window_size=(1, 2, 3)), r"window_size is \(1, 2, 3\); pass two"),
    (dense(window_size=(1.7, 2)), r"window_size is \(1.7, 2\); pass two"),
    (dense(window_size="ab"), "window_size is 'ab'; pass two"),
    (dense(alibi_slopes=[1.0] * 4), "alibi_slopes is a list; pass a torch.Tensor"),
    (dense(softmax_scale="a"), "softmax_scale is 'a'; pass a number"),
    (dense(softmax_scale=float("nan")), "softmax_scale is nan"),
    (dense(dropout_p=1.0), "dropout_p"),
    (call(flash.flash_attn_func, Q, K.half(), V.half()), "k is float16 but q is float32: q, k and"),
    (call(flash.flash_attn_qkvpacked_func, None), "qkv is None; pass a torch.Tensor"),
    (packed(None, numbers(0, 10)), "cu_seqlens_q is None; pass a torch.Tensor"),
    (packed(numbers(0, 9), numbers(0, 11)), "cu_seqlens_k ends at 11"),
    (packed(numbers(0, 11), numbers(0, 9)), "cu_seqlens_q ends at 11"),
    (cached(caches=(CACHES[0], [1])), "v_cache is a list; pass a torch.Tensor"),
    (cached(cache_seqlens=[3]), r"cache_seqlens is \[3\]; pass an integer or a tensor"),
    (cached(cache_seqlens=2**40), "cache_seqlens is 1099511627776; no cache"),
    (cached(cache_seqlens=2.7), "cache_seqlens is 2.7; pass an integer or a tensor"),
    (cached(cache_seqlens=numbers(9, 1)), r"cache_seqlens\[0\] is 9"),
    (cached(k=NEW, v=NEW, cache_seqlens=numbers(4, 1)), r"cache_seqlens\[0\] is 4"),
    (cached(caches=PAGES, cache_seqlens=3, block_table=IN_PAGES), r"block_table\[0, 1\] is 9"),
    (cached(alibi_slopes=[1.0] * 4), "alibi_slopes is a list"),
    (
        dense(alibi_slopes=TABLE[None]),
        r"alibi_slopes has shape \(1, 6, 8\); it must be \(heads\) or",
    ),
    (cached(three, cache_seqlens=[3]), r"cache_seqlens is \[3\]; pass"),
    (cached(three, cache_seqlens=numbers(9, 1)), r"cache_seqlens\[0\] is 9"),
    (cached(three, k=NEW, v=NEW, cache_seqlens=numbers(4, 1)), r"cache_seqlens\[0\] is 4"),
    (cached(three, PAGES, cache_seqlens=3, page_table=IN_PAGES), r"page_table\[0, 1\] is 9"),
    (cached(three, cache_batch_idx=numbers(0, 7)), r"cache_batch_idx\[1\] is 7"),
    *(
        (
            cached(module, k=NEW, v=NEW[:, :, :2], cache_seqlens=1),
            "^v has a head count of 2, v_cache of 4",
        )
        for module in (flash, three)
    ),
    (cached(k=NEW[:, :, :1], v=NEW, cache_seqlens=1), "^k has a head count of 1, k_cache of 4"),
    (cached(k=CACHES[0][:, :1], v=NEW, cache_seqlens=1), "k_cache and k share memory"),
    (cached(k=NEW.half(), v=NEW, cache_seqlens=1), "^k is float16 but k_cache is float32: they"),
    (cached(three, k=NEW, v=NEW.half(), cache_seqlens=1), "^v is float16 but v_cache is float32"),
    (cached(k=NEW, v=[1], cache_seqlens=1), "v is a list; pass a torch.Tensor"),
    (cached(three, k=NEW, v=NEW), "^k is given without cache_seqlens"),
    (cached(three, qv=NEW[..., :8]), "beside q and v_cache it must be"),
    (cached(three, softcap="a"), "softcap is 'a'; pass a number"),
    (cached(three, attention_chunk="a"), "attention_chunk is 'a'; pass a number"),
    (call(three.flash_attn_with_kvcache, [1], *CACHES), r"q is a list; pass a torch\.Tensor"),
    (call(three.flash_attn_qkvpacked_func, [1]), r"qkv is a list; pass a torch\.Tensor"),
    (
        call(three._flash_attn_forward, NEW, *CACHES, k_new=NEW, v_new=NEW),
        "k_new is given without seqused_k",
    ),
    (
        call(three._flash_attn_forward, NEW, *CACHES, k_new=NEW, seqused_k=numbers(1, 1)),
        "Of k_new and v_new only one is given",
    ),
    (call(flash.flash_attn_func, Q, K[0], V), r"k has 3 dimensions, .* heads, dim\)\.$"),
    (
        call(flash.flash_attn_varlen_func, FLAT, [1], FLAT, TABLE, TABLE, 9, 9),
        r"k is a list; pass a torch\.Tensor",
    ),
    (
        call(
            flash.flash_attn_varlen_func,
            *(FLAT, *PAGES, numbers(0, 5, 10), numbers(0, 9, 10), 5, 9),
            block_table=numbers(0, 1, 1, 2).view(2, 2),
        ),
        r"cu_seqlens_k\.diff\(\)\[0\] is 9 but sequence 0 has 4",
    ),
    (dense(softcap="a"), "softcap is 'a'; pass a number"),
    (dense(softcap=float("nan")), "softcap is nan"),
    (call(old.flash_attn_unpadded, None, FLAT, FLAT), "q is None; pass a torch.Tensor"),
    (call(old.flash_attn_unpadded_qkvpacked_func, K, TABLE, 5), r"qkv has shape \(2, 6, 2, 16\)"),
    (call(three.flash_attn_combine, None, None), "out_partial is None; pass"),
    (call(layers.apply_rotary_emb_qkv_, None, TABLE, TABLE), "qkv is None; pass"),
    (call(padding.unpad_input, Q, None), "attention_mask is None; pass"),
    (
        call(mha.SelfAttention(), FIVE, key_padding_mask=TABLE),
        r"key_padding_mask has shape \(6, 8\)",
    ),
    (call(mha.SelfAttention(), None), "qkv is None; pass"),
    (call(mha.SelfAttention(), FIVE, key_padding_mask=[1]), "key_padding_mask is a list; pass"),
    (call(three.flash_attn_qkvpacked_func, Q, num_heads_q=-2), "num_heads_q is -2, which must be"),
    *(longest(given) for given in (float("nan"), -5, "5", numbers(1, 2))),
    (dense(dropout_p="a"), "dropout_p is 'a'; pass a number"),
    *wrong_caches(flash),
    *wrong_caches(three),
    (packed(numbers(0, 9), numbers(0, 11), four), "cu_seqlens_k ends at 11"),
    (call(four.flash_attn_varlen_func, NEW, *CACHES, seqused_k=numbers(9, 1)), r"seqused_k\[0\]"),
    (call(four.flash_attn_func, Q, K, V, learnable_sink=torch.ones(3)), "learnable_sink"),
    (call(layers.apply_rotary_emb, Q, TABLE[:2], TABLE[:2]), "cos has 2 positions but x of"),
    (call(layers.apply_rotary_emb, Q, TABLE, TABLE[:, :4]), r"sin has shape \(6, 4\)"),
    (call(layers.apply_rotary_emb, Q, None, TABLE), "cos is None; pass"),
    (call(mha.MHA(16, 2), torch.ones(3, 16)), r"x has shape \(3, 16\); it must have 3 dimensions"),
]


@pytest.mark.parametrize(("function", "sentence"), CASES, ids=[x[1][:30] for x in CASES])
def test_a_refusal_names_what_the_caller_gave(function: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        function()
    assert isinstance(refused.value, RuntimeError)
    for word in ("query_", "key_offsets", "page_table" if "block" in sentence else "block_table"):
        assert word not in str(refused.value)


def test_none_is_no_limit_of_a_window() -> None:
    new: dict[str, Any] = {"k": NEW, "v": NEW, "cache_seqlens": numbers(1, 2)}
    found, wanted = (
        three.flash_attn_with_kvcache(NEW, *(x.clone() for x in CACHES), window_size=window, **new)
        for window in ((None, None), (-1, -1))
    )
    assert torch.equal(found, wanted)
