"""flash_attn's public functions against the formula: outputs, gradients, lse and S_dmask."""

from __future__ import annotations

from typing import Any

import pytest
from flash_cases import INFINITY, all_close, dense, each, flash, formula, gradients, made, packed
from torch_cases import close, torch

SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625])
CASES: list[dict[str, Any]] = [
    {},
    {"causal": True},
    {"window_size": (3, 2)},
    {"window_size": (3, -1), "causal": True},
    {"window_size": (2, 5), "causal": True},  # causal wins over the right end
    {"window_size": (-1, 0)},
    {"softcap": 2.0, "causal": True},
    {"softmax_scale": 0.3},
    {"alibi_slopes": SLOPES},
    {"alibi_slopes": SLOPES, "causal": True},
    {"alibi_slopes": SLOPES, "causal": True, "window_size": (4, 0)},
    {"alibi_slopes": SLOPES, "causal": True, "window_size": (50, 0)},
    {"alibi_slopes": torch.stack([SLOPES, 2 * SLOPES]), "causal": True},
    {"s_aux": torch.tensor([0.5, -1.0, 2.0, 0.0]), "causal": True},
]


def of_formula(given: dict[str, Any]) -> dict[str, Any]:
    names = {
        "softmax_scale": "scale",
        "window_size": "window",
        "alibi_slopes": "slopes",
        "s_aux": "sinks",
    }
    return {names.get(name, name): value for name, value in given.items()}


@pytest.mark.parametrize("given", CASES, ids=str)
@pytest.mark.parametrize("keys", [13, 5])
def test_dense(given: dict[str, Any], keys: int) -> None:
    q, k, v = inputs = dense(keys=keys)
    wanted, lse = formula(q, k, v, **of_formula(given))
    all_close(flash.flash_attn_func(q, k, v, **given), wanted, inputs)
    found, found_lse, s_dmask = flash.flash_attn_func(q, k, v, return_attn_probs=True, **given)
    all_close(found, wanted, inputs)
    assert found_lse.dtype == torch.float32
    assert not found_lse.requires_grad
    close(found_lse, lse.detach().float())
    assert tuple(s_dmask.shape) == (0,)


def test_lse_of_float64_under_alibi() -> None:
    q, k, v = dense(dtype=torch.float64)
    slopes = torch.tensor([0.3, 0.7, 1.1, 0.013])
    _, lse, _ = flash.flash_attn_func(
        q, k, v, causal=True, alibi_slopes=slopes, return_attn_probs=True
    )
    close(lse, formula(q, k, v, causal=True, slopes=slopes.double())[1], 1e-11)


def test_a_query_that_sees_nothing() -> None:
    q, k, v = dense(queries=6, keys=4)
    out, lse, _ = flash.flash_attn_func(q, k, v, causal=True, return_attn_probs=True)
    assert (out[:, :2] == 0).all()
    assert (lse[:, :, :2] == INFINITY).all()
    assert lse[:, :, 2:].isfinite().all()
    assert (gradients(out, (q,))[0][:, :2] == 0).all()


@pytest.mark.parametrize("given", [{}, {"causal": True, "window_size": (3, 0)}], ids=str)
def test_packed_into_one_tensor(given: dict[str, Any]) -> None:
    q, kv = made(2, 7, 4, 16, seed=1), made(2, 11, 2, 2, 16, seed=2)
    wanted, _ = formula(q, *kv.unbind(2), **of_formula(given))
    all_close(flash.flash_attn_kvpacked_func(q, kv, **given), wanted, (q, kv))
    qkv = made(2, 7, 3, 4, 16, seed=3)
    wanted, _ = formula(*qkv.unbind(2), **of_formula(given))
    found = flash.flash_attn_qkvpacked_func(qkv, **given)
    all_close(found, wanted, (qkv,))
    assert gradients(found, (qkv,))[0].is_contiguous()


def varlen_formula(q: Any, kv: Any, offsets: Any, offsets_k: Any, **given: Any) -> Any:
    k, v = kv
    parts = zip(each(q, offsets), each(k, offsets_k), each(v, offsets_k))
    slopes = given.pop("slopes", None)
    found = []
    for b, part in enumerate(parts):
        own = slopes if slopes is None or slopes.dim() == 1 else slopes[b]
        found.append(formula(*part, slopes=own, longest=int(offsets_k.diff().max()), **given))
    return torch.cat([x[0] for x, _ in found]), torch.cat([x[0] for _, x in found], -1)


@pytest.mark.parametrize("given", CASES, ids=str)
def test_varlen(given: dict[str, Any]) -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    k, offsets_k = packed((8, 3, 4), 2, 16, 2)
    v, _ = packed((8, 3, 4), 2, 16, 3)
    if "alibi_slopes" in given and given["alibi_slopes"].dim() == 2:
        given = {**given, "alibi_slopes": torch.stack([SLOPES, 2 * SLOPES, 3 * SLOPES])}
    wanted, lse = varlen_formula(q, (k, v), offsets, offsets_k, **of_formula(given))
    lengths = (offsets, offsets_k, 7, 8)
    all_close(flash.flash_attn_varlen_func(q, k, v, *lengths, **given), wanted, (q, k, v))
    given = {**given, "return_attn_probs": True}
    _, found_lse, _ = flash.flash_attn_varlen_func(q, k, v, *lengths, **given)
    assert found_lse.shape == (4, 13)
    close(found_lse, lse.detach().float())


def test_varlen_in_one_tensor() -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    kv, offsets_k = made(15, 2, 2, 16, seed=2), torch.tensor([0, 8, 11, 15], dtype=torch.int32)
    wanted, _ = varlen_formula(q, kv.unbind(1), offsets, offsets_k, causal=True)
    lengths = (offsets, offsets_k, 7, 8)
    found = flash.flash_attn_varlen_kvpacked_func(q, kv, *lengths, causal=True)
    all_close(found, wanted, (q, kv))
    qkv = made(13, 3, 4, 16, seed=3)
    wanted, _ = varlen_formula(qkv[:, 0], qkv[:, 1:].unbind(1), offsets, offsets, causal=True)
    found = flash.flash_attn_varlen_qkvpacked_func(qkv, offsets, 7, causal=True)
    all_close(found, wanted, (qkv,))


def test_varlen_in_pages_and_the_longest_as_a_tensor() -> None:
    q, offsets = packed((2, 3), 4, 16, 1)
    pages_k, pages_v = made(5, 4, 2, 16, seed=2), made(5, 4, 2, 16, seed=3)
    table = torch.tensor([[3, 0], [4, 1]], dtype=torch.int32)
    offsets_k = torch.tensor([0, 6, 11], dtype=torch.int32)
    k, v = (
        torch.cat([x[[3, 0]].flatten(0, 1)[:6], x[[4, 1]].flatten(0, 1)[:5]])
        for x in (pages_k, pages_v)
    )
    wanted, _ = varlen_formula(q, (k, v), offsets, offsets_k, causal=True)
    longest = (torch.tensor(3), torch.tensor(6))
    found = flash.flash_attn_varlen_func(
        q, pages_k, pages_v, offsets, offsets_k, *longest, causal=True, block_table=table
    )
    all_close(found, wanted, (q, pages_k, pages_v))


@pytest.mark.parametrize("given", [{}, {"causal": True}, {"softcap": 3.0}], ids=str)
def test_dropout_and_its_probabilities(given: dict[str, Any]) -> None:
    q, k, v = inputs = dense(queries=40, keys=70)
    torch.manual_seed(3)
    out, lse, s_dmask = flash.flash_attn_func(q, k, v, 0.3, return_attn_probs=True, **given)
    assert s_dmask.shape == (2, 4, 128, 128)
    assert s_dmask.dtype == q.dtype
    signed = s_dmask[:, :, :40, :70]
    is_kept = ~torch.signbit(signed)
    assert 0.6 < is_kept.float().mean() < 0.9
    factor = is_kept.double() / (1 - round(0.3 * 65536) / 65536)
    wanted, wanted_lse = formula(q, k, v, factor=factor, **of_formula(given))
    all_close(out, wanted, inputs)
    close(lse, wanted_lse.detach().float())
    sums = signed.abs().sum(-1, keepdim=True)
    plain, _ = formula(q, k, torch.eye(70)[None, :, None].expand(2, 70, 2, 70), **of_formula(given))
    close(signed.abs() / sums, plain.transpose(1, 2).detach().float())
    torch.manual_seed(3)
    again = flash.flash_attn_func(q, k, v, 0.3, **given)
    assert torch.equal(again, out)
    assert not torch.equal(flash.flash_attn_func(q, k, v, 0.3, **given), out)


def test_dropout_of_packed_sequences() -> None:
    q, offsets = packed((40, 3), 4, 16, 1)
    k, offsets_k = packed((70, 9), 4, 16, 2)
    v, _ = packed((70, 9), 4, 16, 3)
    found = flash.flash_attn_varlen_func(
        q, k, v, offsets, offsets_k, 40, 70, 0.3, return_attn_probs=True
    )
    out, _, s_dmask = found
    assert s_dmask.shape == (2, 4, 128, 128)
    ends = zip(each(q, offsets), each(k, offsets_k), each(v, offsets_k))
    parts = []
    for b, part in enumerate(ends):
        signed = s_dmask[b, :, : part[0].shape[1], : part[1].shape[1]]
        factor = (~torch.signbit(signed)).double() / (1 - round(0.3 * 65536) / 65536)
        parts.append(formula(*part, factor=factor)[0][0])
    all_close(out, torch.cat(parts), (q, k, v))


def test_deterministic_gradients_have_the_same_bits() -> None:
    q, k, v = dense(queries=50, keys=50)
    out = flash.flash_attn_func(q, k, v, causal=True, deterministic=True)
    for one, other in zip(gradients(out, (q, k, v)), gradients(out, (q, k, v))):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("dim", [5, 40, 264])
def test_types_and_head_dims(dtype: Any, dim: int) -> None:
    q, k, v = inputs = dense(dim=dim, dtype=dtype)
    found = flash.flash_attn_func(q, k, v, causal=True)
    assert found.dtype == dtype
    assert found.shape == q.shape
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 1.5e-2, torch.float64: 1e-10}[dtype]
    wanted, _ = formula(*inputs, causal=True)
    close(found.double(), wanted, tolerance)


def test_strides_are_free() -> None:
    q, k, v = (made(2, 4, 16, 9, seed=s).permute(0, 3, 1, 2) for s in (1, 2, 3))
    close(flash.flash_attn_func(q, k, v).double(), formula(q, k, v)[0])


def test_without_tokens() -> None:
    q, k, v = dense(queries=0)
    assert flash.flash_attn_func(q, k, v).shape == (2, 0, 4, 16)
    q, k, v = dense(keys=0)
    out, lse, _ = flash.flash_attn_func(q, k, v, return_attn_probs=True)
    assert (out == 0).all()
    assert (lse == INFINITY).all()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_compiled(dropout: float) -> None:
    q, k, v = inputs = dense()

    def call(q: Any, k: Any, v: Any) -> Any:
        options = {"causal": True, "window_size": (4, -1), "softcap": 3.0}
        return flash.flash_attn_func(q, k, v, dropout, return_attn_probs=True, **options)

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.manual_seed(5)
    found = compiled(q, k, v)
    torch.manual_seed(5)
    wanted = call(q, k, v)
    for one, other in zip(found, wanted):
        close(one, other)
    for one, other in zip(gradients(found[0], inputs), gradients(wanted[0], inputs)):
        close(one, other)


@pytest.mark.filterwarnings("ignore")
def test_compiled_varlen() -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    qkv = torch.stack((q, q * 2, q * 3), 1).detach().requires_grad_()

    def call(qkv: Any, offsets: Any) -> Any:
        return flash.flash_attn_varlen_qkvpacked_func(
            qkv, offsets, 7, causal=True, alibi_slopes=SLOPES, return_attn_probs=True
        )

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    found, wanted = compiled(qkv, offsets), call(qkv, offsets)
    close(found[0], wanted[0])
    close(found[1], wanted[1])
    close(gradients(found[0], (qkv,))[0], gradients(wanted[0], (qkv,))[0])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 3}, "multiple of key heads"),
        ({"dtype": torch.int32}, "must be float16"),
        ({"keys": 8, "values": 9}, "^v has 9 rows but k has 8"),
        ({"p": 1.0}, "dropout"),
        ({"p": -0.5}, "dropout"),
    ],
)
def test_refusals(change: dict[str, Any], sentence: str) -> None:
    dtype = change.get("dtype", torch.float32)
    q = torch.zeros(2, 5, change.get("heads", 4), 16, dtype=dtype)
    k = torch.zeros(2, change.get("keys", 9), 2, 16, dtype=dtype)
    v = torch.zeros(2, change.get("values", 9), 2, 16, dtype=dtype)
    with pytest.raises((ValueError, RuntimeError), match=sentence) as refused:
        flash.flash_attn_func(q, k, v, change.get("p", 0.0))
    assert isinstance(refused.value, RuntimeError)
    assert isinstance(refused.value, ValueError)


def test_packed_tensors_of_another_shape() -> None:
    with pytest.raises(ValueError, match="qkv has shape"):
        flash.flash_attn_qkvpacked_func(torch.zeros(2, 5, 4, 4, 16))
    with pytest.raises(ValueError, match="kv has shape"):
        flash.flash_attn_kvpacked_func(torch.zeros(2, 5, 4, 16), torch.zeros(2, 5, 3, 4, 16))


@pytest.mark.parametrize("causal", [False, True])
def test_names_of_before_version_2(causal: bool) -> None:
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    k, offsets_k = packed((8, 3, 4), 4, 16, 2)
    v, _ = packed((8, 3, 4), 4, 16, 3)
    parts = zip(each(q, offsets), each(k, offsets_k), each(v, offsets_k))
    wanted = []
    for part in parts:
        queries, keys = part[0].shape[1], part[1].shape[1]
        seen = torch.arange(keys) <= torch.arange(queries)[:, None] if causal else None
        wanted.append(formula(*part, seen=seen)[0][0])
    lengths = (offsets, offsets_k, 7, 8)
    found = flash.flash_attn_unpadded_func(q, k, v, *lengths, causal=causal)
    all_close(found, torch.cat(wanted), (q, k, v))
    kv = torch.stack((k, v), 1)
    again = flash.flash_attn_unpadded_kvpacked_func(q, kv, *lengths, 0.0, None, causal)
    close(again, found)
    qkv = torch.stack((q, q, q), 1)
    one = flash.flash_attn_unpadded_qkvpacked_func(qkv, offsets, 7, 0.0, causal=causal)
    close(one, flash.flash_attn_varlen_qkvpacked_func(qkv, offsets, 7, causal=causal))
    split = (offsets, 5, 7, 1)
    close(flash.flash_attn_unpadded_qkvpacked_split_func(qkv, *split, causal=causal), one)


def test_one_sequence_without_lengths() -> None:
    q, k, v = (x[0].detach().requires_grad_() for x in dense(queries=9, keys=9))
    found = flash.flash_attn_unpadded(q, k, v, dropout_p=0.0, causal=True)
    wanted, _ = formula(q[None], k[None], v[None], causal=True)
    all_close(found, wanted[0], (q, k, v))
    with pytest.raises(ValueError, match="must be packed"):
        flash.flash_attn_unpadded(q[None], k[None], v[None])
