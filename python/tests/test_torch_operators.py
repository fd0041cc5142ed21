"""The operators: who traces, compiles, exports and transforms sees the same attention."""

from __future__ import annotations

from typing import Any

import pytest
from torch_cases import close, gradients, heads_first, rows, tensors, tilewise, torch

face: Any = tilewise.torch  # its import defines the operators
# torch warns of itself: of its own deprecated calls, and of vmap's slow loop.
pytestmark = pytest.mark.filterwarnings("ignore")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"causal": True, "window": (4, None), "softcap": 2.0},
    "bias": {"bias": rows(4, 1, 13), "sinks": rows(4), "alibi_slopes": rows(4).abs()},
    "lengths": {"key_lengths": torch.tensor([13, 5]), "query_lengths": torch.tensor([9, 2])},
    "mask": {"mask": rows(9, 13) > 0, "diagonal": 3},
}


def flat(given: Any, options: dict[str, Any], flags: int = 0) -> Any:
    from tilewise._call import Operands
    from tilewise.torch import _operators

    arrays = {n: x for n, x in options.items() if isinstance(x, torch.Tensor)}
    return _operators.flatten(Operands(*given), arrays, options, flags)


def test_every_option_is_an_argument() -> None:
    """All but window, which is two arguments (left, right), seed and dropout_offset, which are in
    dropout_state, and device, which tensors have."""
    from tilewise.torch._flat import Flat

    missing = set(tilewise.Options.__annotations__) - set(Flat._fields)
    assert missing == {"window", "seed", "dropout_offset", "device"}


@pytest.mark.parametrize("name", OPTIONS)
def test_opcheck(name: str) -> None:
    for given in (tensors(needs_grad=True), tensors(value_dim=8, needs_grad=True)):
        torch.library.opcheck(torch.ops.tilewise.attention.default, flat(given, OPTIONS[name]))
    given = tensors()
    arguments = flat(given, OPTIONS[name])
    output, lse = torch.ops.tilewise.attention.default(*arguments)
    arriving = torch.randn_like(output), torch.randn_like(lse), output, lse
    wanted = 0b111111 if name == "bias" else 0b111
    operator = torch.ops.tilewise.attention_backward.default
    torch.library.opcheck(operator, (*arriving, wanted, *arguments))


def test_opcheck_heads_first() -> None:
    given = heads_first(heads=4, key_heads=2, value_dim=8, needs_grad=True)
    torch.library.opcheck(torch.ops.tilewise.attention.default, flat(given, {}, 3))
    turned = [x.detach().transpose(1, 2).contiguous().transpose(1, 2) for x in given]
    torch.library.opcheck(torch.ops.tilewise.attention.default, flat(turned, {}, 3))


@pytest.mark.parametrize("name", OPTIONS)
def test_compile(name: str) -> None:
    given = tensors(needs_grad=True)

    def function(*inputs: Any) -> Any:
        return tilewise.attention(*inputs, **OPTIONS[name]) * 2

    wanted, slopes = function(*given), gradients(function, given)
    for dynamic in (False, True):
        torch._dynamo.reset()
        compiled = torch.compile(function, fullgraph=True, dynamic=dynamic, backend="aot_eager")
        close(compiled(*given), wanted)
        close(gradients(compiled, given), slopes)


def test_compile_of_sdpa_by_inductor() -> None:
    given = heads_first(needs_grad=True)
    bias = rows(9, 13, needs_grad=True)

    def function(*inputs: Any) -> Any:
        plain = tilewise.sdpa(*inputs[:3], is_causal=True, dropout_p=0.0)
        return plain + tilewise.sdpa(*(x[0] for x in inputs[:3]), attn_mask=inputs[3])

    wanted, slopes = function(*given, bias), gradients(function, (*given, bias))
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True)
    close(compiled(*given, bias), wanted)
    close(gradients(compiled, (*given, bias)), slopes)


def test_compile_with_dropout_and_autocast() -> None:
    given = tensors(needs_grad=True)

    def function(*inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return tilewise.attention(*inputs, dropout=0.5)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.manual_seed(5)
    wanted = gradients(function, given)
    torch.manual_seed(5)
    close(gradients(compiled, given), wanted, 1e-2)


def test_export() -> None:
    class Model(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def forward(self, query: Any, key: Any, value: Any) -> Any:
            return tilewise.attention(query, key, value, causal=True)

    given = tensors()
    program = torch.export.export(Model(), given)
    assert "tilewise.attention" in str(program.graph)
    close(program.module()(*given), tilewise.attention(*given, causal=True))


def test_tracing() -> None:
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    given = tensors()
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(x) for x in given]
        assert type(tilewise.attention(*fakes)).__name__ == "FakeTensor"
    assert type(tilewise.attention(*fakes)).__name__ == "FakeTensor"
    traced = make_fx(lambda *inputs: tilewise.attention(*inputs))(*given)
    assert "tilewise.attention" in traced.code
    output = tilewise.attention(*(x.to("meta") for x in given))
    assert output.device.type == "meta"
    assert output.shape == given[0].shape


def test_transforms() -> None:
    given = heads_first()
    original = torch.nn.functional.scaled_dot_product_attention

    def loss(function: Any) -> Any:
        return torch.func.grad(lambda *x: function(*x).sin().sum(), argnums=(0, 1, 2))(*given)

    close(loss(tilewise.sdpa), loss(original))
    rest = given[1][:1], given[2][:1]

    def per_sample(function: Any) -> Any:
        return torch.vmap(torch.func.grad(lambda x: function(x[None], *rest).sin().sum()))

    close(per_sample(tilewise.sdpa)(given[0]), per_sample(original)(given[0]))


@pytest.mark.parametrize("name", ["plain", "causal", "bias", "lengths"])
def test_vmap_is_a_call_for_each_slice(name: str) -> None:
    options = OPTIONS[name]
    query, key, value = (torch.stack([x, -x, x * 0.5]) for x in tensors())

    def gradient(*inputs: Any) -> Any:
        def loss(*x: Any) -> Any:
            output, lse = tilewise.attention(*x, return_lse=True, **options)
            return output.sin().sum() + lse.exp().clamp(max=9).sum()

        return torch.func.grad(loss, argnums=(0, 1, 2))(*inputs)

    for dims, given in (
        ((0, 0, 0), (query, key, value)),
        ((0, None, None), (query, key[0], value[0])),
        ((1, 0, 2), (query.movedim(0, 1), key, value.movedim(0, 2))),
    ):
        found = torch.vmap(gradient, in_dims=dims)(*given)
        for index in range(3):
            alone = gradient(
                *(x if dim is None else x.select(dim, index) for x, dim in zip(given, dims))
            )
            close([x[index] for x in found], list(alone))


def test_what_has_no_gradient_says_so() -> None:
    given = tensors(needs_grad=True)
    (gradient,) = torch.autograd.grad(tilewise.attention(*given).sum(), given[0], create_graph=True)
    with pytest.raises(NotImplementedError, match=r"^tilewise has no second-order gradients"):
        gradient.sum().backward()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(given[0].detach(), torch.ones(2, 9, 4, 16))
        with pytest.raises(NotImplementedError, match=r"^tilewise has no forward-mode gradients"):
            tilewise.attention(dual, *given[1:])


def test_a_seed_as_a_state() -> None:
    from tilewise.torch._attention import state_of

    for seed in (0, 2**53 + 1, 2**63 + 5, 2**64 - 1):
        arrays = {"seed": seed, "dropout_offset": 2**62 + 1}
        state = state_of(arrays, torch.device("cpu")).tolist()
        assert [number % 2**64 for number in state] == [seed, 2**62 + 1]


def test_modes_and_profiles_see_a_name() -> None:
    given = tensors()
    with torch.profiler.profile() as profile:
        tilewise.attention(*given)
    assert any("tilewise::attention" in event.key for event in profile.key_averages())


def test_subclasses() -> None:
    class Mine(torch.Tensor):  # type: ignore[misc,name-defined,unused-ignore]
        pass

    given = tensors()
    found = tilewise.attention(*(x.as_subclass(Mine) for x in given))
    assert type(found) is Mine
    close(found.as_subclass(torch.Tensor), tilewise.attention(*given), 0)


def rotation(columns: int = 4) -> Any:
    angle = torch.arange(16)[:, None] * torch.linspace(0.1, 1, columns)
    return angle.cos(), angle.sin()


def test_rotary_has_its_gradient() -> None:
    x = rows(2, 5, 3, 10, dtype=torch.float64, needs_grad=True)
    tables = [table.double() for table in rotation()]
    positions = torch.tensor([1, 6])

    def function(x: Any) -> Any:
        return tilewise.rotary(x, *tables, positions=positions, lengths=torch.tensor([5, 3]))

    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    close(compiled(x), function(x), 0)
    close(gradients(compiled, (x,)), gradients(function, (x,)), 1e-12)
    none = (None,) * 4
    arguments = (x, *tables, positions, *none, False, True, False, 0)
    torch.library.opcheck(torch.ops.tilewise.rotary.default, arguments)
    with pytest.raises(NotImplementedError, match=r"^cosine requires a gradient"):
        tilewise.rotary(x, tables[0].requires_grad_(), tables[1])


def test_caches_under_compile() -> None:
    tables = rotation()
    lengths = torch.tensor([2, 0])
    new = rows(2, 1, 2, 8), rows(2, 1, 2, 8, seed=3)
    query = rows(2, 1, 4, 8, seed=5)

    def step(key_cache: Any, value_cache: Any) -> Any:
        turned = tilewise.append(
            *new, key_cache, value_cache, lengths, cosine=tables[0], sine=tables[1], query=query
        )
        used = lengths + 1
        halves = [
            tilewise.attention(turned, k, v, key_lengths=used, return_lse=True)
            for k, v in ((key_cache, value_cache), (key_cache * 2, value_cache))
        ]
        return tilewise.merge(*zip(*halves))

    caches = [torch.zeros(2, 4, 2, 8) for _ in range(4)]
    wanted = step(*caches[:2])
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    close(compiled(*caches[2:]), wanted, 0)
    close(caches[2:], caches[:2], 0)
    with pytest.raises(
        NotImplementedError, match=r"^key requires a gradient, which tilewise.append"
    ):
        tilewise.append(new[0].requires_grad_(), new[1], *caches[:2], lengths)
