"""bert_padding, rotary embedding and the modules, against plain formulas."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from flash_cases import all_close, dense, formula, gradients, made, packed
from torch_cases import close, torch

padding: Any = importlib.import_module("tilewise.flash_attn.bert_padding")
layers: Any = importlib.import_module("tilewise.flash_attn.layers.rotary")
kernel: Any = importlib.import_module("tilewise.flash_attn.ops.triton.rotary")
losses: Any = importlib.import_module("tilewise.flash_attn.ops.triton.cross_entropy")
mha: Any = importlib.import_module("tilewise.flash_attn.modules.mha")
generation: Any = importlib.import_module("tilewise.flash_attn.utils.generation")


def test_unpad_and_pad() -> None:
    x = made(3, 5, 4, seed=1)
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [1, 0, 0, 0, 0]])
    tokens, indices, offsets, longest, used = padding.unpad_input(x, mask)
    assert torch.equal(tokens, x[mask.bool()])
    assert offsets.tolist() == [0, 3, 6, 7]
    assert offsets.dtype == torch.int32
    assert longest == 3
    assert isinstance(longest, int)
    assert used.tolist() == [3, 3, 1]
    back = padding.pad_input(tokens, indices, 3, 5)
    assert torch.equal(back, x * mask[..., None])
    close(torch.autograd.grad(back.sum(), x)[0], mask[..., None].expand(3, 5, 4).float())
    unused = torch.zeros_like(mask)
    unused[2, 4] = 1
    tokens, _, offsets, longest, used = padding.unpad_input(x, mask, unused)
    assert offsets.tolist() == [0, 3, 6, 8]
    assert used.tolist() == [3, 3, 1]
    with pytest.raises(ValueError, match="attention_mask has shape"):
        padding.unpad_input(x, mask[:, :4])


def test_several_sequences_in_a_row() -> None:
    x = made(2, 6, 4, seed=1)
    lengths = torch.tensor([[2, 3, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0]])
    tokens, indices, offsets, longest = padding.unpad_input_for_concatenated_sequences(x, lengths)
    assert torch.equal(tokens, torch.cat((x[0, :5], x[1, :4])))
    assert offsets.tolist() == [0, 2, 5, 9]
    assert longest == 4
    assert torch.equal(padding.pad_input(tokens, indices, 2, 6)[0, :5], x[0, :5])


def test_rows_by_index() -> None:
    x, indices = made(6, 3, seed=1), torch.tensor([4, 0])
    assert torch.equal(padding.index_first_axis(x, indices), x[indices])
    put = padding.index_put_first_axis(x[:2], indices, 6)
    assert torch.equal(put[indices], x[:2])
    close(put.sum(), x[:2].sum())
    one, other = padding.index_first_axis_residual(x, indices)
    (gradient,) = torch.autograd.grad((one.sum() + 2 * other.sum()), x)
    wanted = torch.full_like(x, 2).index_add(0, indices, torch.ones_like(one))
    assert torch.equal(gradient, wanted)
    assert other.data_ptr() == x.data_ptr()
    assert torch.equal(padding.IndexFirstAxis.apply(x, indices), x[indices])
    assert torch.equal(padding.IndexPutFirstAxis.apply(x[:2], indices, 6), put)
    assert torch.equal(padding.IndexFirstAxisResidual.apply(x, indices)[0], one)


def test_names_of_einops() -> None:
    einops = pytest.importorskip("einops")
    assert padding.rearrange is einops.rearrange
    assert padding.repeat is einops.repeat
    with pytest.raises(AttributeError):
        padding.nothing  # noqa: B018


def tables(positions: int = 20, columns: int = 4) -> Any:
    angle = made(positions, columns, seed=9, grad=False)
    return angle.cos(), angle.sin()


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("offset", [0, 3, torch.tensor([2, 5], dtype=torch.int32)], ids=str)
def test_apply_rotary_emb(interleaved: bool, inplace: bool, offset: Any) -> None:
    cos, sin = tables()
    x = made(2, 7, 3, 16, seed=1)
    leaf = x.detach().clone().requires_grad_()
    position = torch.arange(7) + (offset if isinstance(offset, int) else offset[:, None])
    own = position.expand(2, 7)
    wanted = layers.apply_rotary_emb_torch(
        x.double(), cos.double()[own], sin.double()[own], interleaved
    )
    found = layers.apply_rotary_emb(leaf, cos, sin, interleaved, inplace, offset)
    close(found.double(), wanted)
    assert (found.data_ptr() == leaf.data_ptr()) == inplace
    close(gradients(found, (leaf,))[0], gradients(wanted, (x,))[0])
    turned = kernel.apply_rotary(x.detach(), cos, sin, offset, None, None, interleaved)
    back = kernel.apply_rotary(
        turned, cos, sin, offset, interleaved=interleaved, inplace=True, conjugate=True
    )
    assert back is turned
    close(back, x.detach())


@pytest.mark.parametrize("inplace", [False, True])
def test_apply_rotary_emb_of_packed_tokens(inplace: bool) -> None:
    cos, sin = tables()
    x, offsets = packed((5, 0, 2), 3, 16, 1)
    position = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    wanted = layers.apply_rotary_emb_torch(x[None], cos[position], sin[position])[0]
    leaf = x.detach().clone().requires_grad_()
    found = layers.apply_rotary_emb(
        leaf, cos, sin, inplace=inplace, cu_seqlens=offsets, max_seqlen=5
    )
    close(found, wanted)
    close(gradients(found, (leaf,))[0], gradients(wanted, (x,))[0])
    tables_with_gradients = cos.clone().requires_grad_(), sin.clone().requires_grad_()
    again = layers.apply_rotary_emb(x, *tables_with_gradients, cu_seqlens=offsets, max_seqlen=5)
    assert torch.equal(again, found)
    again.sum().backward()
    assert tables_with_gradients[0].grad is None
    unowned = x.detach().clone()
    kernel.apply_rotary(unowned, cos, sin, 0, offsets[:2], 5, inplace=True)
    assert torch.equal(unowned[5:], x[5:])


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize("form", ["three", "heads"])
def test_queries_and_keys_in_one_tensor(has_own: bool, form: str) -> None:
    cos, sin = tables()
    own: Any = (2 * cos, sin / 2) if has_own else (None, None)
    own_k = own if has_own else (cos, sin)
    if form == "three":
        x = made(2, 7, 3, 4, 16, seed=1)
        q, k, v = x.unbind(2)
    else:
        x = made(2, 7, 8, 16, seed=1)
        q, k, v = x.split((4, 2, 2), 2)
    rows = slice(1, 8)
    wanted = (
        layers.apply_rotary_emb_torch(q, cos[rows], sin[rows]),
        layers.apply_rotary_emb_torch(k, own_k[0][rows], own_k[1][rows]),
        v,
    )
    whole = torch.stack(wanted, 2) if form == "three" else torch.cat(wanted, 2)
    leaf = x.detach().clone().requires_grad_()
    heads = None if form == "three" else 4
    found = layers.apply_rotary_emb_qkv_(leaf, cos, sin, *own, False, 1, heads)
    assert found.data_ptr() == leaf.data_ptr()
    close(found, whole)
    close(gradients(found, (leaf,))[0], gradients(whole, (x,))[0])


def test_keys_and_values_in_one_tensor() -> None:
    cos, sin = tables()
    kv = made(2, 7, 2, 3, 16, seed=1)
    turned = layers.apply_rotary_emb_torch(kv[:, :, 0], cos[:7], sin[:7], True)
    leaf = kv.detach().clone().requires_grad_()
    found = layers.apply_rotary_emb_kv_(leaf, cos, sin, interleaved=True)
    close(found, torch.stack((turned, kv[:, :, 1]), 2))
    for function, shape in (
        (layers.apply_rotary_emb_kv_, (2, 7, 3, 3, 16)),
        (layers.apply_rotary_emb_qkv_, (2, 7, 2, 3, 16)),
        (layers.apply_rotary_emb_qkv_, (2, 7, 6, 16)),
    ):
        with pytest.raises(ValueError, match="has shape"):
            function(torch.zeros(shape), cos, sin)
    with pytest.raises(ValueError, match="num_heads_q"):
        layers.apply_rotary_emb_qkv_(torch.zeros(2, 7, 7, 16), cos, sin, num_heads_q=4)
    with pytest.raises(ValueError, match="as long as both"):
        layers.apply_rotary_emb(torch.zeros(2, 7, 3, 16), cos, sin, seqlen_offsets=15)


@pytest.mark.parametrize("scale_base", [None, 512.0])
def test_rotary_embedding(scale_base: Any) -> None:
    module = layers.RotaryEmbedding(8, 100.0, scale_base=scale_base)
    angle = torch.outer(torch.arange(9.0), 100.0 ** -(torch.arange(0, 8, 2) / 8))
    scale = torch.ones(9, 4)
    if scale_base is not None:
        base = (torch.arange(0, 8, 2) + 0.4 * 8) / (1.4 * 8)
        scale = base ** ((torch.arange(9.0) - 4) / scale_base)[:, None]
    rows = slice(2, 9)
    qkv = made(2, 7, 3, 4, 16, seed=1, grad=False)
    q, k, v = qkv.unbind(2)
    wanted_q = layers.apply_rotary_emb_torch(
        q, (angle.cos() * scale)[rows], (angle.sin() * scale)[rows]
    )
    wanted_k = layers.apply_rotary_emb_torch(
        k, (angle.cos() / scale)[rows], (angle.sin() / scale)[rows]
    )
    alone, kv = q.clone(), qkv[:, :, 1:].clone()
    assert module(qkv, seqlen_offset=2) is qkv
    close(qkv, torch.stack((wanted_q, wanted_k, v), 2))
    found_q, found_kv = module(alone, kv, seqlen_offset=torch.tensor([2, 2]), max_seqlen=9)
    close(found_q, wanted_q)
    close(found_kv[:, :, 0], wanted_k)
    assert not module.state_dict()


def test_flash_modules() -> None:
    qkv = made(2, 7, 3, 4, 16, seed=1)
    wanted, _ = formula(*qkv.unbind(2), causal=True, window=(3, -1))
    module = mha.FlashSelfAttention(causal=True, window_size=(3, -1))
    all_close(module(qkv), wanted, (qkv,))
    offsets = torch.tensor([0, 7, 14], dtype=torch.int32)
    close(module(qkv.flatten(0, 1), cu_seqlens=offsets, max_seqlen=7), module(qkv).flatten(0, 1))
    close(module(qkv, causal=False).double(), formula(*qkv.unbind(2), window=(3, -1))[0])
    q, k, v = dense()
    kv = torch.stack((k, v), 2)
    slopes = torch.tensor(mha.get_alibi_slopes(4))
    cross = mha.FlashCrossAttention(softmax_scale=0.3, alibi_slopes=slopes)
    close(cross(q, kv).double(), formula(q, k, v, scale=0.3, slopes=slopes)[0])
    lengths = (torch.tensor([0, 9, 18]), 9, torch.tensor([0, 13, 26]), 13)
    packed_ones = (q.flatten(0, 1), kv.flatten(0, 1))
    close(cross(*packed_ones, None, *lengths), cross(q, kv).flatten(0, 1))
    dropping = mha.FlashSelfAttention(attention_dropout=0.5)
    assert not torch.equal(dropping(qkv), dropping(qkv))
    close(dropping.eval()(qkv).double(), formula(*qkv.unbind(2))[0])
    for wrong in ({"cu_seqlens": offsets}, {"cu_seqlens": offsets, "max_seqlen": 7}):
        with pytest.raises(ValueError, match="cu_seqlens is given without"):
            cross(*packed_ones, **wrong)


@pytest.mark.parametrize("causal", [False, True])
def test_modules_with_padding(causal: bool) -> None:
    mask = torch.tensor([[1] * 7, [1, 1, 1, 1, 0, 0, 0]]).bool()
    qkv = made(2, 7, 3, 4, 16, seed=1)
    q, k, v = qkv.unbind(2)
    found = mha.SelfAttention(causal)(qkv, key_padding_mask=mask)
    close(found[:1].double(), formula(q[:1], k[:1], v[:1], causal=causal)[0])
    part = (q[1:, :4], k[1:, :4], v[1:, :4])
    close(found[1:, :4].double(), formula(*part, causal=causal)[0])
    close(mha.SelfAttention(causal)(qkv).double(), formula(q, k, v, causal=causal)[0])
    kv = qkv[:, :, 1:]
    found = mha.CrossAttention(causal)(q[:, :3], kv, key_padding_mask=mask)
    close(found[1:].double(), formula(q[1:, :3], k[1:, :4], v[1:, :4], causal=causal)[0])
    close(mha.CrossAttention(causal)(q, kv).double(), formula(q, k, v, causal=causal)[0])


def by_hand(module: Any, x: Any, **given: Any) -> Any:
    """MHA by the formula: projections, rotation, attention."""
    heads, key_heads, dim = module.num_heads, module.num_heads_kv, module.head_dim
    wide = module.Wqkv(x)
    q, k, v = wide.split((heads * dim, key_heads * dim, key_heads * dim), -1)
    q, k, v = (t.unflatten(-1, (-1, dim)) for t in (q, k, v))
    if module.rotary_emb_dim:
        width = module.rotary_emb_dim
        angle = torch.outer(
            torch.arange(float(x.shape[1])), 10000.0 ** -(torch.arange(0, width, 2) / width)
        )
        q, k = (layers.apply_rotary_emb_torch(t, angle.cos(), angle.sin()) for t in (q, k))
    return module.out_proj(formula(q, k, v, **given)[0].flatten(-2).to(x.dtype))


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("rotary", [0, 16])
def test_mha(key_heads: int, flash: bool, rotary: int) -> None:
    torch.manual_seed(1)
    options = {"causal": True, "rotary_emb_dim": rotary, "use_flash_attn": flash}
    module = mha.MHA(64, 4, key_heads, **options)
    x = made(2, 9, 64, seed=1)
    all_close(module(x), by_hand(module, x, causal=True), (x, *module.parameters()))


def test_mha_has_more() -> None:
    torch.manual_seed(1)
    x = made(2, 9, 64, seed=1)
    slopes = torch.tensor(mha.get_alibi_slopes(4))
    options = {"use_alibi": True, "window_size": (4, 2), "use_flash_attn": True}
    module = mha.MHA(64, 4, checkpointing=True, return_residual=True, **options)
    found, residual = module(x)
    assert residual is x
    all_close(found, by_hand(module, x, window=(4, 2), slopes=slopes), (x,))
    module = mha.MHA(64, 4, 2, cross_attn=True)
    memory = made(2, 5, 64, seed=2)
    kv = module.Wkv(memory).unflatten(-1, (2, 2, 16))
    q = module.Wq(x).unflatten(-1, (4, 16))
    wanted = module.out_proj(formula(q, *kv.unbind(2))[0].flatten(-2).float())
    close(module(x, memory), wanted)
    close(module(x, memory, mixer_subset=slice(0, 2)), wanted[:, :2])
    module = mha.MHA(64, 4, dwconv=True, causal=True)
    whole = module(x)
    close(module(x[:, :5]), whole[:, :5])  # nothing of what comes later
    assert mha.MHA(64, 4, 2, dwconv=True)(x).shape == x.shape


def test_mha_of_packed_tokens() -> None:
    torch.manual_seed(1)
    x = made(2, 9, 64, seed=1)
    offsets = torch.tensor([0, 9, 18], dtype=torch.int32)
    for key_heads in (4, 2):
        module = mha.MHA(64, 4, key_heads, causal=True, use_flash_attn=True)
        found = module(x.flatten(0, 1), cu_seqlens=offsets, max_seqlen=9)
        close(found, module(x).flatten(0, 1))


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("has_lengths", [False, True])
def test_mha_generates(key_heads: int, has_lengths: bool) -> None:
    torch.manual_seed(1)
    options = {"causal": True, "rotary_emb_dim": 16, "use_flash_attn": True, "layer_idx": 0}
    module = mha.MHA(64, 4, key_heads, **options).eval()
    x = made(2, 9, 64, seed=1, grad=False)
    lengths = torch.zeros(2, dtype=torch.int32) if has_lengths else None
    given = generation.InferenceParams(9, 3, lengths_per_sample=lengths)
    steps = []
    with torch.no_grad():
        for start, stop in ((0, 6), (6, 7), (7, 9)):
            given.seqlen_offset = start
            if lengths is not None:
                lengths.fill_(start)
            steps.append(module(x[:, start:stop], inference_params=given))
        close(torch.cat(steps, 1), module(x))
    assert given.key_value_memory_dict[0].shape == (3, 9, 2, key_heads, 16)
    given.reset(9, 3)
    assert given.seqlen_offset == 0
    assert lengths is None or not lengths.any()


def test_what_models_take_from_the_module_of_mha() -> None:
    given, kv = generation.InferenceParams(9, 3), torch.randn(2, 4, 2, 2, 8)
    assert torch.equal(mha._update_kv_cache(kv, given, 0), kv)
    given.seqlen_offset = 4
    assert torch.equal(mha._update_kv_cache(kv, given, 0), torch.cat((kv, kv), 1))
    layer = mha.LinearResidual(8, 3)
    found, same = layer(kv)
    assert same is kv
    assert found.shape[-1] == 3


@pytest.mark.parametrize(
    ("make", "call", "sentence"),
    [
        ({"embed_dim": 66}, None, "multiple of num_heads"),
        ({"num_heads_kv": 3}, None, "must divide"),
        ({"use_alibi": True}, None, "go with use_flash_attn"),
        ({"cross_attn": True, "rotary_emb_dim": 16}, None, "must be 0"),
        ({}, {"cu_seqlens": 1, "max_seqlen": 3}, "goes with use_flash_attn"),
        ({"use_flash_attn": True}, {"key_padding_mask": 1}, "without use_flash_attn"),
        ({}, {"x_kv": 1}, "cross_attn=True"),
        ({}, {"inference_params": generation.InferenceParams(9, 2)}, "without layer_idx"),
    ],
)
def test_mha_refuses(make: Any, call: Any, sentence: str) -> None:
    def use() -> None:
        module = mha.MHA(**{"embed_dim": 64, "num_heads": 4, **make})
        module(torch.zeros(2, 9, 64), **call)

    with pytest.raises(ValueError, match=sentence):
        use()


def test_parallel_mha_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="process groups"):
        mha.ParallelMHA(64, 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy(smoothing: float) -> None:
    logits, labels = made(6, 11, seed=1), torch.tensor([1, 5, -100, 0, 10, 3])
    found, z = losses.cross_entropy_loss(logits, labels, label_smoothing=smoothing)
    given = {"reduction": "none", "label_smoothing": smoothing}
    wanted = torch.nn.functional.cross_entropy(logits, labels, **given)
    all_close(found, wanted, (logits,))
    assert (z == 0).all()
    _, z = losses.cross_entropy_loss(logits, labels, lse_square_scale=0.5)
    close(z, (0.5 * logits.logsumexp(-1) ** 2 * (labels != -100)).detach())
    with pytest.raises(NotImplementedError, match="process_group"):
        losses.cross_entropy_loss(logits, labels, process_group=object())


@pytest.mark.filterwarnings("ignore")
def test_a_rotary_embedding_that_ran_before_it_is_compiled() -> None:
    module, qkv = layers.RotaryEmbedding(16), torch.randn(2, 5, 3, 4, 16)
    wanted = module(qkv.clone())
    close(torch.compile(module, fullgraph=True, backend="eager")(qkv.clone()), wanted)
    same = layers.ApplyRotaryEmbQKV_.apply(qkv, module._cos_cached, module._sin_cached)
    close(same, wanted)


@pytest.mark.filterwarnings("ignore")
def test_compiled_rotation() -> None:
    cos, sin = tables()
    x = made(2, 7, 3, 4, 16, seed=1)

    def call(x: Any) -> Any:
        return layers.apply_rotary_emb_qkv_(x * 2, cos, sin)

    found = torch.compile(call, fullgraph=True, backend="aot_eager")(x)
    close(found, call(x))
    close(gradients(found, (x,))[0], gradients(call(x), (x,))[0])
    one, other = (x.detach().clone().requires_grad_() for _ in range(2))
    function = layers.apply_rotary_emb_qkv_
    found = torch.compile(function, fullgraph=True, backend="aot_eager")(one, cos, sin)
    wanted = function(other, cos, sin)
    close(found, wanted)
    close(one.detach(), other.detach())
    close(gradients(found, (one,))[0], gradients(wanted, (other,))[0])
