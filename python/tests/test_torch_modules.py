"""FlashMHA against the same written out with torch's own operations, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from torch_cases import close, functional, rows, tilewise, torch

face: Any = tilewise.torch
BATCH, LENGTH, WIDTH, HEADS = 2, 11, 48, 4


def made(**options: Any) -> Any:
    torch.manual_seed(0)
    return face.FlashMHA(WIDTH, HEADS, **options)


def turned(x: Any, dim: int, base: float = 10000.0, interleaved: bool = False) -> Any:
    """Rotary embedding of (batch, heads, length, head dim), from the formula by complex numbers."""
    pairs = x[..., :dim]
    pairs = pairs.unflatten(-1, (-1, 2)) if interleaved else pairs.unflatten(-1, (2, -1)).mT
    exponents = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * base**-exponents
    found = torch.view_as_complex(pairs.double().contiguous()) * torch.polar(
        torch.ones_like(angle), angle
    )
    found = torch.view_as_real(found)
    found = found.flatten(-2) if interleaved else found.mT.flatten(-2)
    return torch.cat([found.to(x.dtype), x[..., dim:]], -1)


def by_torch(
    module: Any, x: Any, x_kv: Any = None, bias: Any = None, rotary: Any = None, **options: Any
) -> Any:
    """What a module computes, by torch's scaled_dot_product_attention."""
    width_kv = module.num_heads_kv * module.head_dim
    if module.cross_attn:
        query = module.Wq(x)
        key, value = module.Wkv(x if x_kv is None else x_kv).split(width_kv, -1)
    else:
        query, key, value = module.Wqkv(x).split([WIDTH, width_kv, width_kv], -1)
    query, key, value = (
        t.unflatten(-1, (-1, module.head_dim)).transpose(1, 2) for t in (query, key, value)
    )
    if rotary:
        query, key = turned(query, **rotary), turned(key, **rotary)
    key, value = (t.repeat_interleave(HEADS // module.num_heads_kv, 1) for t in (key, value))
    output = functional.scaled_dot_product_attention(query, key, value, bias, **options)
    return module.out_proj(output.transpose(1, 2).flatten(-2))


def same(module: Any, ours: Any, theirs: Any, *inputs: Any) -> None:
    """The same outputs, and gradients of inputs and parameters."""
    found, wanted = ours(*inputs), theirs(*inputs)
    close(found, wanted)
    leaves = [*inputs, *module.parameters()]
    close(
        torch.autograd.grad(found.sin().sum(), leaves),
        torch.autograd.grad(wanted.sin().sum(), leaves),
        1e-4,
    )


distance = torch.arange(LENGTH)[None, :] - torch.arange(LENGTH)[:, None]
slopes = torch.tensor([0.5, 0.25, 0.125, 0.0625])
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "causal": ({"causal": True}, {"is_causal": True}),
    "scale": ({"scale": 0.5}, {"scale": 0.5}),
    "groups": ({"num_heads_kv": 2, "bias": False}, {}),
    "window": ({"window": (3, 1)}, {"bias": (distance >= -3) & (distance <= 1)}),
    "slopes": ({"alibi_slopes": slopes}, {"bias": -slopes[:, None, None] * distance.abs()}),
    "rotary": ({"rotary_dim": 12, "causal": True}, {"rotary": {"dim": 12}, "is_causal": True}),
    "pairs": (
        {"rotary_dim": 6, "rotary_base": 100.0, "rotary_interleaved": True, "num_heads_kv": 1},
        {"rotary": {"dim": 6, "base": 100.0, "interleaved": True}},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_what_torch_computes(name: str) -> None:
    options, others = CASES[name]
    module = made(**options)
    x = rows(BATCH, LENGTH, WIDTH, needs_grad=True)
    same(module, module, lambda x: by_torch(module, x, **others), x)
    half = copy.deepcopy(module).double()
    close(half(x.double()), module(x).double())


def test_cross_attention() -> None:
    module = made(cross_attn=True, num_heads_kv=2)
    x = rows(BATCH, LENGTH, WIDTH, needs_grad=True)
    x_kv = rows(BATCH, 7, WIDTH, seed=1, needs_grad=True)
    same(module, module, lambda *given: by_torch(module, *given), x, x_kv)
    with pytest.raises(ValueError, match=r"made without cross_attn=True"):
        made()(x, x_kv)


def test_key_padding_mask_says_what_counts() -> None:
    module = made()
    x = rows(BATCH, LENGTH, WIDTH, needs_grad=True)
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [4]])
    bias = mask[:, None, None, :]
    same(
        module,
        lambda x: module(x, key_padding_mask=mask),
        lambda x: by_torch(module, x, bias=bias),
        x,
    )
    alone = module(x[1:, :4])
    close(module(x, key_padding_mask=mask)[1:, :4], alone)


def test_packed_tokens() -> None:
    module = made(causal=True, rotary_dim=12, num_heads_kv=2)
    x = rows(3, LENGTH, WIDTH, needs_grad=True)
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [1], [6]])

    def packed(x: Any) -> Any:
        tokens, indices, offsets, longest = face.unpad(x, mask)
        output = module(tokens, offsets=offsets, longest=longest)
        return face.pad(output, indices, 3, LENGTH)

    def padded(x: Any) -> Any:
        return module(x, key_padding_mask=mask) * mask[..., None]

    same(module, packed, padded, x)
    tokens, _, offsets, longest = face.unpad(x, mask)
    close(module(tokens, offsets=offsets), module(tokens, offsets=offsets, longest=longest), 0)


def test_softcap_and_standard_slopes() -> None:
    module = made(softcap=2.0, alibi_slopes=True, causal=True)
    x = rows(BATCH, LENGTH, WIDTH)
    query, key, value = (
        t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in module.Wqkv(x).split(WIDTH, -1)
    )
    score = 2.0 * torch.tanh(query @ key.mT / 2.0 / module.head_dim**0.5)
    standard = torch.tensor([2.0 ** (-2 * each) for each in range(1, 5)])
    score = score - standard[:, None, None] * distance.abs()
    weights = score.masked_fill(distance > 0, -float("inf")).softmax(-1)
    close(module(x), module.out_proj((weights @ value).transpose(1, 2).flatten(-2)))
    assert face.standard_slopes(6)[:5] == [2**-2.0, 2**-4.0, 2**-6.0, 2**-8.0, 2**-1.0]
    close(
        module.bfloat16()(x.bfloat16()).float(),
        made(**{"softcap": 2.0, "alibi_slopes": True, "causal": True})(x),
        3e-2,
    )


def test_slopes_that_learn() -> None:
    slopes = torch.nn.Parameter(torch.ones(HEADS))
    module = made(alibi_slopes=slopes)
    assert "alibi_slopes" in dict(module.named_parameters())
    module(rows(BATCH, LENGTH, WIDTH)).sin().sum().backward()
    assert (slopes.grad != 0).all()


def test_dropout_in_training_alone() -> None:
    module = made(attention_dropout=0.5)
    x = rows(BATCH, LENGTH, WIDTH)
    torch.manual_seed(5)
    first = module(x)
    torch.manual_seed(5)
    close(module(x), first, 0)
    assert not torch.equal(module(x), first)
    close(module.eval()(x), by_torch(module, x))


def test_constructor_of_the_older_package() -> None:
    module = face.FlashMHA(
        embed_dim=WIDTH,
        num_heads=HEADS,
        bias=True,
        batch_first=True,
        attention_dropout=0.0,
        causal=True,
        device=torch.device("cpu"),
        dtype=torch.float64,
    )
    assert sorted(module.state_dict()) == [
        "Wqkv.bias",
        "Wqkv.weight",
        "out_proj.bias",
        "out_proj.weight",
    ]
    assert module.Wqkv.weight.shape == (3 * WIDTH, WIDTH)
    output, weights = module(rows(BATCH, LENGTH, WIDTH, dtype=torch.float64), need_weights=False)
    assert output.shape == (BATCH, LENGTH, WIDTH)
    assert weights is None
    cross = made(cross_attn=True, num_heads_kv=2, qkv_proj_bias=False, rotary_dim=4)
    assert {name: tuple(x.shape) for name, x in cross.state_dict().items()} == {
        "Wq.weight": (48, 48),
        "Wkv.weight": (48, 48),
        "out_proj.weight": (48, 48),
        "out_proj.bias": (48,),
    }
    again = pickle.loads(pickle.dumps(cross))
    x = rows(BATCH, LENGTH, WIDTH)
    close(again(x, x), cross(x, x), 0)
    assert "num_heads_kv=2" in repr(again)


def test_weights_of_multihead_attention_load() -> None:
    theirs = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    module = made()
    state = {name.replace("in_proj_", "Wqkv."): x for name, x in theirs.state_dict().items()}
    module.load_state_dict(state)
    x = rows(BATCH, LENGTH, WIDTH)
    close(module(x), theirs(x, x, x, need_weights=False)[0])


def test_tables_made_in_inference_serve_training() -> None:
    module = made(rotary_dim=12)
    x = rows(BATCH, LENGTH, WIDTH)
    with torch.inference_mode():
        wanted = module(x)
    output = module(x)
    output.sum().backward()
    close(output, wanted, 0)
    longer = rows(1, 200, WIDTH)
    close(module(longer), by_torch(module, longer, rotary={"dim": 12}))


def test_fake_tensors_leave_nothing_behind() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    module = made(rotary_dim=12, alibi_slopes=True)
    x = rows(BATCH, LENGTH, WIDTH)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert module(mode.from_tensor(x)).shape == x.shape
    assert type(module(x)) is torch.Tensor


@pytest.mark.filterwarnings("ignore")
def test_compile() -> None:
    module = made(causal=True, rotary_dim=12, num_heads_kv=2, alibi_slopes=True)
    x = rows(BATCH, LENGTH, WIDTH, needs_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    same(module, compiled, module, x)
    torch._dynamo.reset()


def test_autocast() -> None:
    module = made(rotary_dim=12, causal=True)
    x = rows(BATCH, LENGTH, WIDTH)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(x)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    close(output.float(), module(x), 5e-2)
    assert module.Wqkv.weight.grad.dtype == torch.float32


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"num_heads": 5}, r"embed_dim is 48 and num_heads 5; embed_dim must be a multiple"),
    ({"num_heads_kv": 3}, r"num_heads_kv is 3; it must divide num_heads, which is 4"),
    ({"batch_first": False}, r"batch_first is False; FlashMHA takes \(batch, length"),
    ({"attention_dropout": 1.0}, r"attention_dropout is 1.0; it must lie in \[0, 1\)"),
    ({"rotary_dim": 14}, r"rotary_dim is 14, but a head has 12 numbers"),
    ({"rotary_dim": 3}, r"dim is 3; a rotation turns pairs"),
    ({"alibi_slopes": [1.0]}, r"alibi_slopes has 1 numbers; there are 4 heads"),
]


@pytest.mark.parametrize(("options", "sentence"), REFUSED)
def test_refused_modules(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        face.FlashMHA(WIDTH, **{"num_heads": HEADS, **options})


def test_refused_inputs() -> None:
    module, x = made(), rows(BATCH, LENGTH, WIDTH)
    with pytest.raises(ValueError, match=r"x has shape \(11, 48\); it must be \(batch, length"):
        module(x[0])
    with pytest.raises(ValueError, match=r"key_padding_mask has shape \(2, 3\); it must be"):
        module(x, key_padding_mask=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(
        TypeError, match=r"key_padding_mask has dtype float32; it must be bool, .*= 0"
    ):
        module(x, key_padding_mask=torch.zeros(2, 11))
    with pytest.raises(TypeError, match=r"mask has dtype bfloat16; it must be bool, .* mask == 0;"):
        face.unpad(x, torch.zeros(2, 11, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match=r"x_kv is a bool tensor; pass a mask as key_padding_mask"):
        module(x, torch.ones(2, 11, dtype=torch.bool))
    with pytest.raises(NotImplementedError, match=r"attention_probabilities shows them"):
        module(x, need_weights=True)
    with pytest.raises(ValueError, match=r"offsets are given together with"):
        module(x[0], offsets=torch.tensor([0, 11]), key_padding_mask=x[0, :, 0] > 0)


class FourLinears(torch.nn.Module):  # type: ignore[misc]
    """The module that people write around torch's function, word for word in its usual form."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.dropout = dropout
        self.q_proj = torch.nn.Linear(embed_dim, embed_dim)
        self.k_proj = torch.nn.Linear(embed_dim, embed_dim)
        self.v_proj = torch.nn.Linear(embed_dim, embed_dim)
        self.out_proj = torch.nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Any, attn_mask: Any = None, is_causal: bool = False) -> Any:
        batch, length, embed_dim = x.shape
        q, k, v = (
            project(x).view(batch, length, self.num_heads, self.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        output = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=attn_mask,
            is_causal=is_causal,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.out_proj(output.transpose(1, 2).contiguous().view(batch, length, embed_dim))


def test_four_linears_work_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    from tilewise.torch import _override

    seen: list[Any] = []

    def watched(*given: Any, **named: Any) -> Any:
        seen.append(given)
        return tilewise.sdpa(*given, **named)

    monkeypatch.setattr(_override, "sdpa", watched)
    module = FourLinears(WIDTH, HEADS)
    x = rows(BATCH, LENGTH, WIDTH, needs_grad=True)
    for options in ({}, {"is_causal": True}, {"attn_mask": distance > -4}):
        leaves = [x, *module.parameters()]
        wanted = module(x, **options)
        slopes_there = torch.autograd.grad(wanted.sin().sum(), leaves)
        with face.enable():
            found = module(x, **options)
            slopes_here = torch.autograd.grad(found.sin().sum(), leaves)
        close(found, wanted)
        close(slopes_here, slopes_there, 1e-4)
    assert len(seen) == 3
    dropping = FourLinears(WIDTH, HEADS, dropout=0.5)
    with face.enable():
        torch.manual_seed(2)
        first = dropping(x)
        torch.manual_seed(2)
        close(dropping(x), first, 0)


def test_modules_refuse_what_is_no_tensor() -> None:
    attention = face.FlashMHA(16, 2)
    x = torch.ones(1, 3, 16)
    with pytest.raises(TypeError, match=r"^x is a ndarray; pass a torch tensor"):
        attention(x.numpy())
    with pytest.raises(TypeError, match=r"^key_padding_mask is a list; pass a torch tensor"):
        attention(x, key_padding_mask=[[1, 1, 0]])
    with pytest.raises(TypeError, match=r"^mask is a list; pass a torch tensor"):
        face.unpad(x, [[1, 1, 0]])
    with pytest.raises(TypeError, match=r"^embed_dim is a float; it must be an integer"):
        face.FlashMHA(16.0, 2)
    with pytest.raises(TypeError, match=r"^window is a int; it must be a tuple of 2 items"):
        face.FlashMHA(16, 2, window=3)
    slopes = torch.rand(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"^alibi_slopes is a tensor that requires a gradient"):
        face.FlashMHA(16, 2, alibi_slopes=slopes)
    face.FlashMHA(16, 2, alibi_slopes=torch.nn.Parameter(slopes.detach()))(x).sum().backward()
