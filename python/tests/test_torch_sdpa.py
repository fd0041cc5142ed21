"""tilewise.sdpa against torch's scaled_dot_product_attention, and in its place after enable()."""

from __future__ import annotations

from typing import Any

import pytest
from torch_cases import (
    close,
    functional,
    gradients,
    heads_first,
    is_before,
    rows,
    tilewise,
    torch,
)

original = functional.scaled_dot_product_attention
face: Any = tilewise.torch
mask = rows(2, 4, 9, 13, seed=8) > -0.5
mask[0, 0, 0] = False  # a query that sees nothing

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.7, "is_causal": True},
    "zero scale": {"scale": 0.0},
    "bool": {"attn_mask": mask},
    "bool of keys": {"attn_mask": mask[0, 1, 2:3]},
    "bool of heads": {"attn_mask": mask[:, :1]},
    "bool of three": {"attn_mask": mask[0]},
    "additive": {"attn_mask": rows(2, 1, 9, 13, seed=8)},
    "additive of two": {"attn_mask": rows(9, 13, seed=8)},
    "additive, hidden": {"attn_mask": torch.zeros(9, 13).masked_fill(~mask[0, 1], -float("inf"))},
}
SIZES: dict[str, dict[str, Any]] = {
    "plain": {},
    "value dim": {"value_dim": 8},
    "any dim": {"dim": 7, "value_dim": 33},
    "one key head": {"key_heads": 1},
    "no queries": {"queries": 0},
    "no batch": {"batch": 0},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", SIZES)
def test_as_torch_has_it(name: str, sizes: str) -> None:
    if sizes.startswith("no ") and "attn_mask" in CASES[name]:
        pytest.skip("the masks have queries and a batch")
    if is_before(2, 5) and "attn_mask" in CASES[name]:
        pytest.skip("torch gives NaN to queries that see nothing before 2.5")
    given = heads_first(needs_grad=True, **SIZES[sizes])
    close(tilewise.sdpa(*given, **CASES[name]), original(*given, **CASES[name]))
    found = gradients(lambda *inputs: tilewise.sdpa(*inputs, **CASES[name]), given)
    close(found, gradients(lambda *inputs: original(*inputs, **CASES[name]), given), 1e-4)


@pytest.mark.skipif(is_before(2, 5), reason="torch gives NaN to queries that see nothing")
@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("name", ["plain", "causal", "bool of three", "additive of two"])
def test_three_dimensions(name: str, needs_grad: bool) -> None:
    """Tensors without a batch, on the quick path and on the general one."""
    case = CASES[name]
    for sizes in ({}, {"key_heads": 1}, {"value_dim": 8}):
        given = tuple(
            x[0].detach().requires_grad_(needs_grad)
            for x in heads_first(**sizes)  # type: ignore[arg-type]
        )
        close(tilewise.sdpa(*given, **case), original(*given, **case))
        if needs_grad:
            found = gradients(lambda *inputs, case=case: tilewise.sdpa(*inputs, **case), given)
            close(found, gradients(lambda *inputs, case=case: original(*inputs, **case), given))
    query, key, value = (x[0] for x in heads_first())
    with pytest.raises(ValueError, match=r"^The leading dimensions of query, key and value are"):
        tilewise.sdpa(query, key[:3], value[:3])
    with pytest.raises(ValueError, match=r"^attn_mask has shape \(3, 9, 13\); it must broadcast"):
        tilewise.sdpa(query, key, value, torch.zeros(3, 9, 13))
    grouped = tilewise.sdpa(query, key[:2], value[:2], enable_gqa=True)
    close(grouped, original(query[None], key[None, :2], value[None, :2], enable_gqa=True)[0])


def test_masks_of_five_dimensions() -> None:
    """What all of a batch have in common is not repeated."""
    from tilewise.torch._sdpa import _mask_in_four

    lead = (2, 3, 4)
    query, key = rows(*lead, 5, 8), rows(*lead, 7, 8, seed=1)
    for shape in (
        (1, 1, 1, 5, 7),
        (1, 1, 4, 1, 7),
        (4, 5, 7),
        (2, 1, 1, 5, 7),
        (3, 1, 5, 1),
        (2, 3, 4, 5, 7),
        (2, 3, 1, 1, 7),
    ):
        mask = rows(*shape, seed=2).requires_grad_()
        close(tilewise.sdpa(query, key, key, mask), original(query, key, key, mask))
        found = gradients(lambda mask: tilewise.sdpa(query, key, key, mask), (mask,))
        close(found, gradients(lambda mask: original(query, key, key, mask), (mask,)), 1e-4)
    for shape in ((1, 1, 1, 5, 7), (1, 1, 4, 5, 7), (2, 3, 4, 5, 7), (2, 3, 1, 5, 7)):
        mask = rows(*shape)
        assert _mask_in_four(mask, lead).data_ptr() == mask.data_ptr()
    assert _mask_in_four(rows(2, 1, 1, 5, 7), lead).shape == (6, 1, 5, 7)  # not once for each head
    with pytest.raises(ValueError, match=r"^attn_mask has shape \(2, 2, 1, 5, 7\); it must broad"):
        tilewise.sdpa(query, key, key, rows(2, 2, 1, 5, 7))


def test_no_heads() -> None:
    given = tuple(x[:, :0].requires_grad_() for x in heads_first())
    assert tilewise.sdpa(*given).shape == (2, 0, 9, 16)  # torch 2.11's own ends the process
    (gradient, *_) = torch.autograd.grad(tilewise.sdpa(*given).sum(), given)
    assert gradient.shape == given[0].shape


@pytest.mark.parametrize("name", ["bool", "additive"])
def test_masks_in_odd_places(name: str) -> None:
    given = heads_first(needs_grad=True)
    whole = CASES[name]["attn_mask"]
    for mask in (whole.transpose(2, 3).contiguous().transpose(2, 3), whole[:, :, :, ::2]):
        rows = [given[0], *(x[:, :, : mask.shape[3]] for x in given[1:])]
        close(tilewise.sdpa(*rows, mask), original(*rows, mask))
        with torch.no_grad():
            close(tilewise.sdpa(*rows, mask), original(*rows, mask))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types(dtype: str) -> None:
    given = heads_first(dtype=getattr(torch, dtype))
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-12}[dtype]
    close(tilewise.sdpa(*given), original(*given), tolerance)


@pytest.mark.parametrize(
    "shapes",
    [
        [(9, 8), (13, 8), (13, 8)],
        [(3, 9, 8), (3, 13, 8), (3, 13, 8)],
        [(3, 9, 8), (1, 13, 8), (13, 8)],
        [(5, 2, 3, 9, 8), (5, 2, 3, 13, 8), (5, 2, 3, 13, 4)],
        [(5, 1, 3, 9, 8), (2, 1, 13, 8), (1, 13, 8)],
        [(2, 1, 9, 8), (2, 3, 13, 8), (2, 3, 13, 8)],
        [(1, 3, 9, 8), (2, 3, 13, 8), (2, 3, 13, 8)],
    ],
)
def test_any_leading_dimensions(shapes: list[tuple[int, ...]]) -> None:
    given = [rows(*shape, seed=each, needs_grad=True) for each, shape in enumerate(shapes)]
    close(tilewise.sdpa(*given), original(*given))
    close(gradients(tilewise.sdpa, given), gradients(original, given), 1e-4)
    hidden = rows(9, 13) > 0
    close(tilewise.sdpa(*given, attn_mask=hidden), original(*given, attn_mask=hidden))
    lead = torch.broadcast_shapes(*(shape[:-2] for shape in shapes))
    bias = rows(*lead, 9, 13, needs_grad=True)
    found = gradients(lambda *inputs: tilewise.sdpa(*inputs[:3], inputs[3]), [*given, bias])
    wanted = gradients(lambda *inputs: original(*inputs[:3], inputs[3]), [*given, bias])
    close(found, wanted, 1e-4)


@pytest.mark.skipif(is_before(2, 5), reason="torch has no enable_gqa before 2.5")
def test_groups() -> None:
    given = heads_first(heads=6, key_heads=2, needs_grad=True)
    wanted = original(*given, enable_gqa=True)
    close(tilewise.sdpa(*given, enable_gqa=True), wanted)
    with pytest.raises(ValueError, match=r"Fewer heads of key and value take enable_gqa=True"):
        tilewise.sdpa(*given)
    three = [x[0] for x in given]
    close(tilewise.sdpa(*three, enable_gqa=True), original(*three, enable_gqa=True))


def test_a_negative_scale() -> None:
    """torch's kernel for the processor gives NaN here."""
    query, key, value = heads_first()
    close(tilewise.sdpa(query, key, value, scale=-0.7), original(-query, key, value, scale=0.7))


def test_strange_dims() -> None:
    given = heads_first(dim=8)
    query, key, value = (x[..., :0] for x in given)
    mean = given[2].mean(-2, keepdim=True).expand(2, 4, 9, 16)
    close(tilewise.sdpa(query, key, given[2], scale=1.0), mean)
    assert tilewise.sdpa(*given[:2], value).shape == (2, 4, 9, 0)
    close(
        tilewise.sdpa(given[0][..., ::2], given[1][..., ::2], given[2][..., ::2]),
        original(given[0][..., ::2], given[1][..., ::2], given[2][..., ::2]),
    )


def test_a_mask_with_a_gradient() -> None:
    given = heads_first(needs_grad=True)
    for shape in ((9, 13), (4, 1, 13), (2, 1, 9, 13), (1,)):
        bias = rows(*shape, seed=5, needs_grad=True)
        found = gradients(lambda *inputs: tilewise.sdpa(*inputs[:3], inputs[3]), (*given, bias))
        wanted = gradients(lambda *inputs: original(*inputs[:3], inputs[3]), (*given, bias))
        close(found, wanted, 1e-4)


def test_dropout() -> None:
    given = heads_first(queries=64, keys=64)
    torch.manual_seed(1)
    first = tilewise.sdpa(*given, dropout_p=0.5)
    torch.manual_seed(1)
    close(tilewise.sdpa(*given, dropout_p=0.5), first, 0)
    assert not tilewise.sdpa(*given, dropout_p=1.0).any()
    ones = torch.ones_like(given[2])
    mean = tilewise.sdpa(*given[:2], ones, dropout_p=0.25).mean().item()
    assert mean == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match=r"dropout_p is 1.5; it must lie between 0 and 1"):
        tilewise.sdpa(*given, dropout_p=1.5)


def test_causal_bias() -> None:
    from torch.nn.attention.bias import causal_lower_right, causal_upper_left

    given = heads_first()
    for make in (causal_lower_right, causal_upper_left):
        close(tilewise.sdpa(*given, make(9, 13)), original(*given, make(9, 13)))
    with pytest.raises(ValueError, match=r"attn_mask and is_causal are both given"):
        tilewise.sdpa(*given, attn_mask=mask, is_causal=True)


def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reaches the library from now on."""
    from tilewise.torch import _override

    seen: list[Any] = []

    def watched(*given: Any, **named: Any) -> Any:
        seen.append(given)
        return tilewise.sdpa(*given, **named)

    monkeypatch.setattr(_override, "sdpa", watched)
    return seen


def test_refused_arguments() -> None:
    given = heads_first()
    query, _, value = given
    for name in ("is_causal", "enable_gqa"):
        for switch in (None, 2, 1, "yes"):
            with pytest.raises(TypeError, match=rf"^{name} is .*; it must be True or False\.$"):
                tilewise.sdpa(*given, **{name: switch})
    with pytest.raises(TypeError, match=r"^query is a ndarray; sdpa takes torch tensors"):
        tilewise.sdpa(*(x.numpy() for x in given))
    with pytest.raises(TypeError, match=r"^key is a NoneType; sdpa takes torch tensors"):
        tilewise.sdpa(query, None, value)
    for mask, said in (
        ([[True]], "is a list; pass"),
        (torch.ones(13, dtype=torch.int64), "has dtype int64; it must be bool"),
        (torch.ones(9, 9), r"has shape \(9, 9\); it must broadcast to \(2, 4, 9, 13\)"),
        (torch.ones(1, 1, 1, 1, 13), r"has shape \(1, 1, 1, 1, 13\); it must broadcast"),
    ):
        error = ValueError if "shape" in said else TypeError
        with pytest.raises(error, match=rf"^attn_mask {said}"):
            tilewise.sdpa(*given, attn_mask=mask)


def test_enable_reaches_who_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    given = heads_first(needs_grad=True)
    wanted = gradients(original, given)
    with face.enable():
        assert face.is_enabled()
        close(gradients(original, given), wanted, 1e-4)
        assert len(seen) == 1
        for options in CASES.values():
            original(*given, **options)
        original(*given, dropout_p=0.5)
        original(*(x[0, 0] for x in given))
        with torch.inference_mode():
            original(*given)
        assert len(seen) == len(CASES) + 4
    assert not face.is_enabled()
    original(*given)
    assert len(seen) == len(CASES) + 4


def test_enable_reaches_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    x = rows(2, 5, 16)
    attention = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True)
    wanted = attention(x, x, x, need_weights=False)[0]
    wanted_layer = layer.eval()(x)
    with face.enable():
        close(attention(x, x, x, need_weights=False)[0], wanted)
        close(layer(x), wanted_layer)
        with torch.no_grad():
            close(attention.eval()(x, x, x, need_weights=False)[0], wanted)
            close(layer(x), wanted_layer)
    assert len(seen) == 4
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_enable_reaches_cpp_and_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    given = heads_first(needs_grad=True)
    traced = torch.jit.trace(lambda *inputs: original(*inputs, is_causal=True), given)
    wanted = traced(*given)
    with torch.autocast("cpu", torch.bfloat16):
        half = original(*given)
    with face.enable():
        close(torch.ops.aten.scaled_dot_product_attention(*given, is_causal=True), wanted)
        assert len(seen) == 1
        close(traced(*given), wanted)  # torch's interpreter, in C++
        assert len(seen) == 2
        with torch.autocast("cpu", torch.bfloat16):
            found = original(*given)
        assert len(seen) == 3
    assert found.dtype == half.dtype == torch.bfloat16
    close(found, half, 2e-2)


def test_what_goes_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    seen = calls(monkeypatch)
    given = heads_first()
    wanted = original(*given)
    with face.enable():
        with sdpa_kernel([SDPBackend.MATH]):
            close(original(*given), wanted)
        found = torch.func.grad(lambda x: original(x, *given[1:]).sum())(given[0])
        assert not seen
        with pytest.raises(RuntimeError):
            original(given[0], given[1][..., :3], given[2])
    close(found, torch.func.grad(lambda x: original(x, *given[1:]).sum())(given[0]))


def test_formulas_of_torch_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """There flash is the only kernel beside the formulas: what a GPU has as well says nothing."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    seen = calls(monkeypatch)
    given = heads_first()
    torch.manual_seed(4)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION]):
        wanted = original(*given, dropout_p=0.4)
    with face.enable():
        torch.manual_seed(4)
        with sdpa_kernel([SDPBackend.MATH, SDPBackend.EFFICIENT_ATTENTION]):
            assert torch.equal(original(*given, dropout_p=0.4), wanted)  # the same are dropped
        assert not seen
        with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
            original(*given)
        assert len(seen) == 1


def test_enable_and_disable_count() -> None:
    outer = face.enable()
    with face.enable():
        pass
    assert face.is_enabled()
    face.disable()
    assert not face.is_enabled()
    outer.close()
    face.disable()
    with face.enable():
        outer.close()
        assert face.is_enabled()
    assert not face.is_enabled()


def test_enable_under_compile() -> None:
    given = heads_first(needs_grad=True)
    wanted = gradients(original, given)
    graphs: list[Any] = []

    def keep(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return make_boxed_func(graph)

    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    torch._dynamo.reset()
    with face.enable():
        compiled = torch.compile(original, fullgraph=True, backend=aot_autograd(fw_compiler=keep))
        close(gradients(compiled, given), wanted, 1e-4)
    assert any("tilewise.attention" in graph.code for graph in graphs)
    torch._dynamo.reset()
