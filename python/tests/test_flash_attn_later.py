"""The interfaces of FlashAttention-3 and 4 against the formula."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from flash_cases import INFINITY, all_close, dense, each, flash, formula, made, packed
from torch_cases import close, torch

three: Any = importlib.import_module("tilewise.flash_attn.flash_attn_3.flash_attn_interface")
four: Any = importlib.import_module("tilewise.flash_attn.cute.interface")
CASES: list[dict[str, Any]] = [
    {"causal": True},
    {"window_size": (3, 2)},
    {"attention_chunk": 4},
    {"attention_chunk": 4, "causal": True},
    {"softcap": 2.0, "softmax_scale": 0.3},
    {"s_aux": torch.tensor([0.5, -1.0, 2.0, 0.0]), "causal": True},
]
NAMES = {
    "softmax_scale": "scale",
    "window_size": "window",
    "attention_chunk": "chunk",
    "s_aux": "sinks",
}


def of_formula(given: dict[str, Any]) -> dict[str, Any]:
    return {NAMES.get(name, name): value for name, value in given.items()}


@pytest.mark.parametrize("given", CASES, ids=str)
@pytest.mark.parametrize("keys", [13, 5])
def test_three(given: dict[str, Any], keys: int) -> None:
    q, k, v = inputs = dense(keys=keys)
    wanted, lse = formula(*inputs, **of_formula(given))
    all_close(three.flash_attn_func(q, k, v, **given), wanted, inputs)
    out, found_lse = three.flash_attn_func(q, k, v, return_attn_probs=True, **given)
    close(out.double(), wanted)
    close(found_lse.double(), torch.where(lse == INFINITY, -INFINITY, lse).detach())
    assert not found_lse.requires_grad


def test_three_with_a_query_for_values() -> None:
    q, k, _ = dense()
    v, qv = made(2, 13, 2, 24, seed=3), made(2, 9, 4, 24, seed=4)
    wanted, _ = formula(torch.cat((q, qv), -1), torch.cat((k, v), -1), v, causal=True)
    all_close(three.flash_attn_func(q, k, v, causal=True, qv=qv), wanted, (q, k, v, qv))
    with pytest.raises(ValueError, match="qv has shape"):
        three.flash_attn_func(q, k, v, qv=qv[..., :8])


@pytest.mark.parametrize("dtype", ["float8_e4m3fn"])
def test_three_in_fp8(dtype: str) -> None:
    kind = getattr(torch, dtype)
    q, k, v = (x.to(kind) for x in dense(grad=False))
    factors = [
        torch.rand(2, 2, generator=torch.Generator().manual_seed(s)) + 0.5 for s in (1, 2, 3)
    ]
    found = three.flash_attn_func(q, k, v, None, True, None, *factors)
    assert found.dtype == torch.bfloat16
    wide = (factors[0].repeat_interleave(2, 1), factors[1], factors[2])
    rows = (x.double() * f[:, None, :, None] for x, f in zip((q, k, v), wide))
    close(found.double(), formula(*rows, causal=True)[0], 2e-2)
    with pytest.raises(ValueError, match="for FP8"):
        three.flash_attn_func(*dense(grad=False), None, True, None, *factors)


def test_three_packed() -> None:
    qkv = made(2, 7, 8, 16, seed=1)
    parts = qkv.split((4, 2, 2), 2)
    wanted, _ = formula(*parts, causal=True)
    found = three.flash_attn_qkvpacked_func(qkv, causal=True, num_heads_q=4)
    all_close(found, wanted, (qkv,))
    qkv = made(2, 7, 3, 4, 16, seed=1)
    all_close(three.flash_attn_qkvpacked_func(qkv), formula(*qkv.unbind(2))[0], (qkv,))
    with pytest.raises(ValueError, match="qkv has shape"):
        three.flash_attn_qkvpacked_func(torch.zeros(2, 7, 8, 16))


def test_three_varlen_used_in_part() -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    k, offsets_k = packed((8, 3, 4), 2, 16, 2)
    v, _ = packed((8, 3, 4), 2, 16, 3)
    used, used_k = torch.tensor([4, 1, 0]).int(), torch.tensor([8, 2, 4]).int()
    lengths = (offsets, offsets_k, 7, 8, used, used_k)
    found, lse = three.flash_attn_varlen_func(
        q, k, v, *lengths, causal=True, return_attn_probs=True
    )
    parts = list(zip(each(q, offsets), each(k, offsets_k), each(v, offsets_k)))
    for b, first in enumerate(offsets[:-1].tolist()):
        rows, keys = int(used[b]), int(used_k[b])
        one = (parts[b][0][:, :rows], parts[b][1][:, :keys], parts[b][2][:, :keys])
        wanted, wanted_lse = formula(*one, causal=True)
        close(found[first : first + rows].double(), wanted[0])
        close(lse[:, first : first + rows].double(), wanted_lse[0].detach())


def test_three_by_classes_with_apply() -> None:
    q, k, v = dense(heads=2)
    found = three.FlashAttnFunc.apply(q, k, v, None, True)
    close(found, three.flash_attn_func(q, k, v, causal=True), 0)
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    ends, ends_k = (torch.tensor([0, n, 2 * n], dtype=torch.int32) for n in (9, 13))
    given = (ends, ends_k, None, None, 9, 13, None, True)
    close(three.FlashAttnVarlenFunc.apply(*flat, *given), found.flatten(0, 1))
    assert three.maybe_contiguous(q) is q


def test_four_by_classes_with_apply() -> None:
    q, k, v = dense(heads=2)
    given = (None, None, None, True)
    found, _ = four.FlashAttnFunc.apply(q, k, v, *given)
    wanted, lse = four.flash_attn_func(q, k, v, causal=True, return_lse=True)
    close(found, wanted, 0)
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    ends, ends_k = (torch.tensor([0, n, 2 * n], dtype=torch.int32) for n in (9, 13))
    rows = (None, ends, ends_k, None, None, 9, 13, 0, None, None)
    tail = (None, True, (None, None), None, 0.0, 1, None, False, *(None,) * 6, True)
    found, found_lse = four.FlashAttnVarlenFunc.apply(*flat, *rows, *tail)
    close(found, wanted.flatten(0, 1))
    close(found_lse, lse.transpose(0, 1).flatten(1))
    used = torch.tensor([7, 4], dtype=torch.int32)
    wanted, _ = four.flash_attn_varlen_func(*flat, None, *rows[1:3], seqused_k=used)
    close(four.FlashAttnVarlenFunc.apply(*flat, *rows[:4], used)[0], wanted, 0)
    wanted, _ = four.flash_attn_varlen_func(*flat, None, *rows[1:3], seqused_q=used)
    close(four.FlashAttnVarlenFunc.apply(*flat, *rows[:3], used)[0], wanted, 0)


def test_three_with_a_cache() -> None:
    caches = [made(3, 12, 2, 16, seed=s, grad=False) for s in (1, 2)]
    other = [x.clone() for x in caches]
    q, k, v = (made(3, 2, h, 16, seed=s, grad=False) for h, s in ((4, 3), (2, 4), (2, 5)))
    lengths = torch.tensor([5, 0, 7], dtype=torch.int32)
    angle = made(12, 8, seed=6, grad=False)
    tables = {"rotary_cos": angle.cos(), "rotary_sin": angle.sin(), "causal": True}
    given = {"cache_seqlens": lengths, **tables}
    wanted, wanted_lse = flash.flash_attn_with_kvcache(
        q, *other, k, v, return_softmax_lse=True, **given
    )
    found, lse, *rest = three.flash_attn_with_kvcache(
        q, *caches, k, v, return_softmax_lse=True, **given
    )
    close(found, wanted)
    close(lse, wanted_lse)
    assert len(rest) == 2
    for one, two in zip(caches, other):
        assert torch.equal(one, two)
    # Queries and new keys packed give the same, and so do positions that are said.
    again = [x.clone() for x in other]
    offsets = torch.tensor([0, 2, 4, 6], dtype=torch.int32)
    packed_ones = (x.flatten(0, 1) for x in (q, k, v))
    q_packed, k_packed, v_packed = packed_ones
    flat = three.flash_attn_with_kvcache(
        q_packed,
        *again,
        k_packed,
        v_packed,
        cu_seqlens_q=offsets,
        cu_seqlens_k_new=offsets,
        max_seqlen_q=2,
        rotary_seqlens=lengths,
        **given,
    )
    close(flat.unflatten(0, (3, 2)), wanted)
    assert torch.equal(again[1], other[1])
    close(again[0], other[0])


def test_three_with_pages_by_index() -> None:
    """Sequence b has row cache_batch_idx[b] of the page table."""
    pages = [made(9, 4, 2, 16, seed=s, grad=False) for s in (1, 2)]
    table = torch.randperm(9, generator=torch.Generator().manual_seed(1)).view(3, 3).int()
    index = torch.tensor([2, 0], dtype=torch.int32)
    rows = [x[table[index].long()].flatten(1, 2) for x in pages]
    q, k = made(2, 2, 4, 16, seed=3, grad=False), made(2, 1, 2, 16, seed=4, grad=False)
    lengths = torch.tensor([5, 10], dtype=torch.int32)
    given = {"cache_seqlens": lengths, "causal": True}
    wanted = three.flash_attn_with_kvcache(q, *rows, k, k, **given)
    found = three.flash_attn_with_kvcache(
        q, *pages, k, k, page_table=table, cache_batch_idx=index, **given
    )
    close(found, wanted)
    assert torch.equal(pages[0][table[index].long()].flatten(1, 2), rows[0])


def test_three_with_a_cache_and_a_query_for_values() -> None:
    k_cache, v_cache = (made(2, 6, 1, n, seed=s, grad=False) for n, s in ((8, 1), (32, 2)))
    q, qv = (made(2, 1, 4, n, seed=s, grad=False) for n, s in ((8, 3), (32, 4)))
    found = three.flash_attn_with_kvcache(q, k_cache, v_cache, qv=qv, cache_seqlens=5)
    keys = torch.cat((k_cache, v_cache), -1)[:, :5]
    close(found.double(), formula(torch.cat((q, qv), -1), keys, v_cache[:, :5])[0])


@pytest.mark.parametrize("has_positions", [False, True])
def test_three_with_a_cache_in_fp8(has_positions: bool) -> None:
    """Rotated queries keep their FP8 type, which is the cache's."""
    lengths = torch.tensor([5, 0, 7], dtype=torch.int32)
    wide = [made(3, 12, 2, 16, seed=s, grad=False) for s in (1, 2)]
    q, k, v = (made(3, 2, h, 16, seed=s, grad=False) for h, s in ((4, 3), (2, 4), (2, 5)))
    angle = made(12, 8, seed=6, grad=False)
    given = {"rotary_cos": angle.cos(), "rotary_sin": angle.sin(), "causal": True}
    given["cache_seqlens"] = lengths
    if has_positions:
        given["rotary_seqlens"] = lengths
    narrow = [x.to(torch.float8_e4m3fn) for x in (*wide, q, k, v)]
    found = three.flash_attn_with_kvcache(narrow[2], *narrow[:2], *narrow[3:], **given)
    assert found.dtype == torch.bfloat16
    wanted = three.flash_attn_with_kvcache(q, *wide, k, v, **given)
    assert (found.float() - wanted).abs().max() < 0.3
    assert narrow[0].dtype == torch.float8_e4m3fn


def test_parts_combined() -> None:
    q, k, v = dense(grad=False)
    parts = [
        three.flash_attn_func(q, k[:, rows], v[:, rows], return_attn_probs=True)
        for rows in (slice(0, 3), slice(3, 13))
    ]
    outs = torch.stack([x for x, _ in parts])
    lses = torch.stack([x.transpose(1, 2) for _, x in parts])
    lses[:, 0, 0] = -INFINITY
    wanted, lse = formula(q, k, v)
    place = torch.empty(q.shape, dtype=torch.bfloat16)
    for module in (three, four):
        found, found_lse = module.flash_attn_combine(outs, lses)
        close(found[1].double(), wanted[1])
        close(found_lse[1].double(), lse[1].T)
        assert (found[0, 0] == 0).all()
        assert (found_lse[0, 0] == -INFINITY).all()
        assert module.flash_attn_combine(outs, lses, place)[0] is place
        assert module.flash_attn_combine(outs, lses, out_dtype=torch.float16)[0].dtype.itemsize == 2
        spoilt = torch.stack((*outs, torch.full_like(q, float("nan")))).requires_grad_()
        unseen = torch.cat((lses, torch.full_like(lses[:1], -INFINITY)))
        assert torch.equal(module.flash_attn_combine(spoilt, unseen)[0], found)
        (gradient,) = torch.autograd.grad(
            module.flash_attn_combine(spoilt, unseen)[0].sum(), spoilt
        )
        assert torch.equal(gradient[2], torch.zeros_like(q))
    assert four.flash_attn_combine(outs, lses, return_lse=False)[1] is None
    with pytest.raises(ValueError, match="lse_partial has shape"):
        three.flash_attn_combine(outs, lses[..., :2])


def test_three_backward_and_metadata() -> None:
    q, k, v = inputs = dense()
    out = three.flash_attn_func(q, k, v, causal=True)
    wanted = torch.autograd.grad(out, inputs, torch.ones_like(out))
    found = three._flash_attn_forward(q, k, v, causal=True)
    assert len(found) == 4
    places = [torch.empty_like(x) for x in inputs]
    read = (torch.ones_like(out), q, k, v, found[0], found[1])
    sums = three._flash_attn_backward(*read, *(None,) * 4, 9, 13, *places, 0.25, True)
    for one, other in zip(places, wanted):
        close(one, other)
    assert sums.shape == (2, 4, 128)
    sizes = (2, 9, 13, 4, 2, 16, torch.tensor([13, 13]))
    metadata = three.get_scheduler_metadata(*sizes)
    assert metadata.dtype == torch.int32
    k_cache, v_cache = k.detach(), v.detach()
    three.flash_attn_with_kvcache(q, k_cache, v_cache, scheduler_metadata=metadata)


def test_four() -> None:
    q, k, v = inputs = dense()
    sinks = torch.tensor([0.5, -1.0, 2.0, 0.0], requires_grad=True)
    wanted, wanted_lse = formula(*inputs, window=(3, 2), sinks=sinks, softcap=2.0)
    given = {"window_size": (3, 2), "learnable_sink": sinks, "softcap": 2.0}
    found, lse = four.flash_attn_func(q, k, v, **given)
    assert not lse.requires_grad
    with torch.no_grad():
        assert four.flash_attn_func(q, k, v, **given)[1] is None
    all_close(found, wanted, (*inputs, sinks))
    _, lse = four.flash_attn_func(q, k, v, return_lse=True, **given)
    all_close(lse, wanted_lse, (q, k, sinks))


@pytest.mark.parametrize(
    ("window", "causal", "left", "right"),
    [
        ((None, -3), False, None, -3),
        ((-2, None), False, -2, None),  # the last queries see nothing
        ((6, -1), False, 6, -1),
        ((-1, 3), False, -1, 3),
        ((4, -6), False, None, None),  # no key is left, which is no limit there
        ((-1, -1), False, None, None),
        ((-1, -1), True, None, 0),
        ((3, -1), True, 3, 0),
    ],
    ids=str,
)
def test_four_with_a_window_below_nothing(
    window: Any, causal: bool, left: int | None, right: int | None
) -> None:
    """A number below 0 is a limit as well: None is no limit."""
    q, k, v = inputs = dense()
    away = torch.arange(k.shape[1]) - torch.arange(q.shape[1])[:, None] - k.shape[1] + q.shape[1]
    seen = (away >= -(99 if left is None else left)) & (away <= (99 if right is None else right))
    wanted, lse = formula(*inputs, seen=seen)
    given = {"window_size": window, "causal": causal, "return_lse": True}
    found, found_lse = four.flash_attn_func(q, k, v, **given)
    all_close(found, wanted, inputs)
    close(found_lse.double(), torch.where(lse == INFINITY, -INFINITY, lse).detach())
    sides = {"window_size_left": window[0], "window_size_right": window[1], "causal": causal}
    close(four._flash_attn_fwd(*(x.detach() for x in inputs), **sides)[0], found.detach())


def test_four_with_a_query_for_values_alone() -> None:
    v, qv = made(2, 13, 1, 24, seed=3), made(2, 9, 4, 24, seed=4)
    wanted, _ = formula(qv, v, v, causal=True)
    found, _ = four.flash_attn_func(None, None, v, qv=qv, causal=True)
    all_close(found, wanted, (v, qv))
    pages, table = v.detach(), torch.tensor([[1], [0]], dtype=torch.int32)
    given = {"page_table": table, "causal": True}
    close(four.flash_attn_varlen_func(None, None, pages, qv=qv.flip(0), **given)[0].flip(0), found)
    close(four._flash_attn_fwd(None, None, v, qv, causal=True)[0], found)
    for q, k in ((qv, None), (None, v)):
        with pytest.raises(ValueError, match="pass q and k, or qv, or all"):
            four.flash_attn_func(q, k, v)


def test_four_varlen() -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    k, offsets_k = packed((8, 3, 4), 2, 16, 2)
    v, _ = packed((8, 3, 4), 2, 16, 3)
    lengths = (offsets, offsets_k, 7, 8)
    wanted = flash.flash_attn_varlen_func(q, k, v, *lengths, causal=True, window_size=(4, -1))
    for longest in ((7, 8), (None, None), (torch.tensor(7), torch.tensor(8))):
        given = {"causal": True, "window_size": (4, None), "return_lse": True}
        found, lse = four.flash_attn_varlen_func(q, k, v, None, *lengths[:2], *longest, **given)
        close(found, wanted)
        assert lse.shape == (4, 13)
    # Pages, and queries that are not packed.
    pages = [made(5, 4, 2, 16, seed=s, grad=False) for s in (4, 5)]
    table = torch.tensor([[3, 0], [4, 1]], dtype=torch.int32)
    rows = [x[table.long()].flatten(1, 2) for x in pages]
    query = made(2, 3, 4, 16, seed=6, grad=False)
    for used in (None, torch.tensor([7, 5], dtype=torch.int32)):
        found, _ = four.flash_attn_varlen_func(
            query, *pages, seqused_k=used, page_table=table, causal=True
        )
        wanted = flash.flash_attn_with_kvcache(query, *rows, cache_seqlens=used, causal=True)
        close(found, wanted)


def test_four_as_torch_calls_it() -> None:
    q, k, v = inputs = dense()
    place = torch.empty_like(q).detach()
    given = {"softmax_scale": 0.25, "causal": True, "window_size_left": 4}
    out, lse, *rest = four._flash_attn_fwd(q, k, v, return_lse=True, out=place, **given)
    assert out is place
    assert rest == [None, None, None]
    wanted, _ = formula(*inputs, causal=True, window=(4, 0))
    close(out.double(), wanted.detach())
    expected = torch.autograd.grad(wanted.sum(), inputs)
    read = (q, k, v, out, torch.ones_like(out), lse)
    for one, other in zip(four._flash_attn_bwd(*read, **given), expected):
        close(one, other)
    expected = torch.autograd.grad(formula(*inputs, causal=True, window=(4, 0))[1].sum(), (q, k))
    read = (q, k, v, out, torch.zeros_like(out), lse)
    found = four._flash_attn_bwd(*read, dlse=torch.ones_like(lse), **given)
    for one, other in zip(found[:2], expected):
        close(one, other)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("score_mod", "a function of CuTe's"),
        ("mask_mod", "a function of CuTe's"),
        ("block_sparse_tensors", "block_sparse_attention"),
        ("gather_kv_indices", "gather the keys"),
        ("aux_tensors", "score_mod and mask_mod"),
    ],
)
def test_four_refuses(name: str, sentence: str) -> None:
    for function in (four.flash_attn_func, four.flash_attn_varlen_func):
        with pytest.raises(NotImplementedError, match=sentence):
            function(*dense(), **{name: object()})


@pytest.mark.filterwarnings("ignore")
def test_compiled() -> None:
    inputs = dense()

    def call(q: Any, k: Any, v: Any) -> Any:
        one, lse = three.flash_attn_func(q, k, v, causal=True, qv=q, return_attn_probs=True)
        two, _ = four.flash_attn_func(q, k, v, window_size=(2, None))
        return one + two, lse

    found = torch.compile(call, fullgraph=True, backend="aot_eager")(*inputs)
    wanted = call(*inputs)
    close(found[0], wanted[0])
    close(found[1], wanted[1])
