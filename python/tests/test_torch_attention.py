"""tilewise.attention on tensors of the processor: the same numbers, gradients, dropout, places."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from torch_cases import by_formula, close, gradients, rows, tensors, tilewise, torch

HALVES = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}


@pytest.mark.parametrize("name", HALVES)
def test_forward_is_the_formula(name: str) -> None:
    given = tensors(dtype=getattr(torch, name), value_dim=24)
    output, lse = tilewise.attention(*given, return_lse=True)
    wanted, wanted_lse = by_formula(*given)
    assert output.dtype == given[0].dtype
    assert lse.dtype == (torch.float64 if name == "float64" else torch.float32)
    close(output.double(), wanted, HALVES[name])
    close(lse.double(), wanted_lse, 1e-4 if name != "float64" else 1e-12)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"causal": True, "scale": 0.3},
    {"window": (4, 2), "softcap": 3.0},
    {"mask": rows(2, 1, 9, 13) > 0, "diagonal": "top_left"},
    {"bias": rows(9, 13), "sinks": rows(4)},
    {"alibi_slopes": rows(4).abs(), "chunk": 5},
    {"block_mask": torch.tensor([[True]]), "block_size": (16, 16)},
    {"key_lengths": torch.tensor([13, 4]), "query_start": torch.tensor([0, 3])},
    {"dropout": 0.25, "seed": 2**63 + 5, "dropout_offset": 12},
    {"dropout": 0.25, "dropout_state": torch.tensor([7, 12])},
    {"key_lengths": [13, 4], "sinks": [0.5, 1, 2, 3]},
]


def as_numpy(options: dict[str, Any]) -> dict[str, Any]:
    found = {n: x.numpy() if isinstance(x, torch.Tensor) else x for n, x in options.items()}
    if "dropout_state" in found:
        found["dropout_state"] = found["dropout_state"].view(np.uint64)
    return found


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_options_mean_what_they_mean_for_numpy(options: dict[str, Any]) -> None:
    given = tensors()
    output, lse = tilewise.attention(*given, return_lse=True, **options)
    arrays = [x.numpy() for x in given]
    wanted = tilewise.attention(*arrays, return_lse=True, **as_numpy(options))
    np.testing.assert_array_equal(output.numpy(), wanted[0])
    np.testing.assert_array_equal(lse.numpy(), wanted[1])
    arriving = rows(*output.shape, seed=9)
    found = tilewise.attention_backward(arriving, *given, output, lse, **options)
    of_numpy = tilewise.attention_backward(arriving.numpy(), *arrays, *wanted, **as_numpy(options))
    for name in tilewise.Gradients._fields:
        one, other = getattr(found, name), getattr(of_numpy, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one.numpy(), other)


def test_views_are_read_where_they_lie() -> None:
    wide = rows(2, 4, 60, 40)
    query, key = wide[:, :, 3:22, 8:24].transpose(1, 2), wide[:, ::2, 22:59, 1:17].transpose(1, 2)
    value = wide[:, :2, 20:57, 16:].transpose(1, 2)
    wanted = tilewise.attention(query.contiguous(), key.contiguous(), value.contiguous())
    close(tilewise.attention(query, key, value), wanted, 1e-6)
    one_head = key[:1, :, :1].expand(2, 37, 2, 16)
    wanted = tilewise.attention(query, one_head.contiguous(), value)
    close(tilewise.attention(query, one_head, value), wanted, 1e-6)
    halves = query[..., ::2], key[..., ::2]
    wanted = tilewise.attention(*(x.contiguous() for x in halves), value)
    close(tilewise.attention(*halves, value), wanted, 0)


def test_packed_sequences() -> None:
    query, key, value = (x.flatten(0, 1) for x in tensors())
    offsets = {"query_offsets": torch.tensor([0, 9, 18]), "key_offsets": torch.tensor([0, 13, 26])}
    output, lse = tilewise.attention(query, key, value, return_lse=True, **offsets)
    dense = tilewise.attention(*tensors(), return_lse=True)
    close(output, dense[0].flatten(0, 1), 1e-6)
    close(lse, dense[1].transpose(0, 1).flatten(1, 2), 1e-6)


def test_out_and_workspace() -> None:
    given = tensors()
    out = torch.full((2, 9, 4, 16), 9.0)
    assert tilewise.attention(*given, out=out) is out
    close(out, tilewise.attention(*given), 0)
    workspace = torch.empty(tilewise.workspace_bytes(*given), dtype=torch.uint8)
    close(tilewise.attention(*given, workspace=workspace), out, 0)
    assert tilewise.attention(*given, output_dtype=torch.float64).dtype == torch.float64
    assert "backend" in tilewise.explain(*given, json=True)
    shape = (2, 9, 4, 16)
    assert tilewise.explain(shape, shape, shape, dtype=torch.bfloat16)


def test_caches_and_merging() -> None:
    key, value = rows(2, 3, 2, 16), rows(2, 3, 2, 16, seed=4)
    caches = torch.zeros(2, 2, 8, 2, 16)
    angle = torch.arange(8)[:, None] * torch.linspace(0.1, 1, 8)
    tables = angle.cos(), angle.sin()
    query = rows(2, 3, 4, 16, seed=5)
    turned = tilewise.append(
        key, value, *caches, torch.tensor([1, 4]), cosine=tables[0], sine=tables[1], query=query
    )
    positions = torch.tensor([1, 4])
    close(turned, tilewise.rotary(query, *tables, positions=positions), 1e-6)
    close(caches[0, 1, 4:7], tilewise.rotary(key, *tables, positions=positions)[1], 1e-6)
    parts = [
        tilewise.attention(query, caches[0][:, s], caches[1][:, s], return_lse=True)
        for s in (slice(0, 3), slice(3, 8))
    ]
    output, lse = tilewise.merge(*zip(*parts))
    wanted, wanted_lse = tilewise.attention(query, *caches, return_lse=True)
    close(output, wanted, 1e-6)
    close(lse, wanted_lse, 1e-6)
    found = tilewise.attention_probabilities(query, key)
    assert found.shape == (2, 4, 3, 3)


def test_gradients_are_those_of_the_formula() -> None:
    given = tensors(needs_grad=True, dtype=torch.float64)
    bias = rows(4, 1, 13, dtype=torch.float64, needs_grad=True)

    def ours(*inputs: Any) -> Any:
        output, lse = tilewise.attention(*inputs[:3], bias=inputs[3], return_lse=True)
        return output.flatten(), lse.flatten()

    def formula(*inputs: Any) -> Any:
        output, lse = by_formula(*inputs)
        return output.flatten(), lse.flatten()

    for pick in (lambda x: x[0], lambda x: x[1], torch.cat):
        found = gradients(lambda *inputs: pick(ours(*inputs)), (*given, bias))  # noqa: B023
        wanted = gradients(lambda *inputs: pick(formula(*inputs)), (*given, bias))  # noqa: B023
        close(found, wanted, 1e-10)


@pytest.mark.parametrize("options", [{}, {"causal": True, "softcap": 2.0}])
def test_gradcheck(options: dict[str, Any]) -> None:
    given = tensors(1, 3, 4, 2, 1, 4, 3, dtype=torch.float64, needs_grad=True)
    more = {
        "bias": rows(2, 1, 4, dtype=torch.float64, needs_grad=True),
        "alibi_slopes": rows(2, dtype=torch.float64, seed=6, needs_grad=True),
        "sinks": rows(2, dtype=torch.float64, seed=7, needs_grad=True),
    }

    def function(query: Any, key: Any, value: Any, *rest: Any) -> Any:
        arrays = dict(zip(more, rest))
        return tilewise.attention(query, key, value, return_lse=True, **arrays, **options)

    assert torch.autograd.gradcheck(function, (*given, *more.values()))


def test_gradients_of_one_input_alone() -> None:
    for place in range(3):
        given = list(tensors())
        given[place].requires_grad_()
        (found,) = torch.autograd.grad(tilewise.attention(*given).sum(), given[place])
        (wanted,) = torch.autograd.grad(by_formula(*given)[0].sum(), given[place])
        close(found, wanted.float())
    sinks = torch.zeros(4, dtype=torch.bfloat16, requires_grad=True)
    tilewise.attention(*tensors(), sinks=sinks).sum().backward()
    assert sinks.grad.dtype == torch.bfloat16
    assert sinks.grad.abs().sum() > 0


@pytest.mark.parametrize("is_compiled", [False, True])
def test_an_offset_without_a_seed_is_used(is_compiled: bool) -> None:
    def dropped(offset: int) -> Any:
        torch.manual_seed(3)
        return tilewise.attention(*tensors(), dropout=0.5, dropout_offset=offset)

    function = torch.compile(dropped, backend="eager") if is_compiled else dropped
    first = function(1)
    assert torch.equal(function(1), first)
    assert not torch.equal(function(2**64 - 1), first)


def test_dropout_is_torchs_to_repeat() -> None:
    given = tensors(needs_grad=True)

    def run() -> Any:
        return tilewise.attention(*given, dropout=0.5)

    torch.manual_seed(3)
    first, second = run(), run()
    torch.manual_seed(3)
    again = run()
    close(first, again, 0)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    found = gradients(lambda *inputs: tilewise.attention(*inputs, dropout=0.5), given)
    torch.manual_seed(3)
    state = torch.randint(-(2**63), 2**63 - 1, (2,), dtype=torch.int64)
    named = gradients(
        lambda *inputs: tilewise.attention(*inputs, dropout=0.5, dropout_state=state), given
    )
    close(found, named, 0)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_drop_the_same(reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    given = tensors(needs_grad=True)

    def run(*inputs: Any) -> Any:
        return tilewise.attention(*inputs, dropout=0.5, causal=True)

    torch.manual_seed(4)
    plain = gradients(run, given)
    torch.manual_seed(4)
    output = checkpoint(run, *given, use_reentrant=reentrant)
    (output.double().sin() * (1 + output.double())).sum().backward()
    close(tuple(x.grad for x in given), plain, 0)


def test_autocast() -> None:
    given = tensors(needs_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = tilewise.attention(*given)
        sdpa = tilewise.sdpa(*(x.transpose(1, 2) for x in given), enable_gqa=True)
    assert output.dtype == sdpa.dtype == torch.bfloat16
    output.float().sum().backward()
    assert all(x.grad.dtype == torch.float32 for x in given)
    close(output.float(), by_formula(*given)[0].float(), 2e-2)


def test_parameters_and_no_grad() -> None:
    parameters = [torch.nn.Parameter(x) for x in tensors()]
    output = tilewise.attention(*parameters)
    assert output.requires_grad
    with torch.no_grad():
        assert not tilewise.attention(*parameters).requires_grad
    with torch.inference_mode():
        close(tilewise.attention(*parameters), output.detach(), 0)


def test_calls_from_many_threads() -> None:
    inputs = [tensors(queries=1 + each) for each in range(8)]
    alone = [tilewise.attention(*each, causal=True) for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            together = list(pool.map(lambda each: tilewise.attention(*each, causal=True), inputs))
    for found, wanted in zip(together, alone):
        close(found, wanted, 0)


def test_a_view_with_another_sign() -> None:
    query, key, value = tensors()
    wanted = tilewise.attention(-query, key, value)
    close(tilewise.attention(torch._neg_view(query), key, value), wanted, 1e-6)


@pytest.mark.parametrize("options", OPTIONS[:9], ids=lambda options: "-".join(options) or "plain")
def test_both_ways_give_the_same_bits(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        given = tensors(needs_grad=True)
        output, lse = tilewise.attention(*given, return_lse=True, **options)
        alone = tilewise.attention(*given, **options)
        heads = [x.detach().transpose(1, 2).requires_grad_() for x in given]
        turned = tilewise.sdpa(*heads, enable_gqa=True)
        found = torch.autograd.grad((output.sin().sum() + lse.exp().sum()), given)
        return (
            output,
            lse,
            *found,
            *torch.autograd.grad(alone.sin().sum(), given),
            turned,
            *torch.autograd.grad(turned.sin().sum(), heads),
        )

    quick = run()
    monkeypatch.setattr(tilewise._quick, "extension", None)
    for one, other in zip(quick, run()):
        close(one, other, 0)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_types_of_eight_bits(name: str) -> None:
    query, key, value = (x.to(getattr(torch, name)) for x in tensors())
    factor = torch.full((1, 2), 0.5)
    output = tilewise.attention(query, key, value, query_factor=factor)
    assert output.dtype == torch.bfloat16
    wanted = tilewise.attention(query.float() * 0.5, key.float(), value.float())
    close(output.float(), wanted, 1e-2)


def test_what_backward_needs_may_not_change() -> None:
    given = tensors(needs_grad=True)
    output = tilewise.attention(*given)
    with torch.no_grad():
        given[1].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_written_tensors_are_known_as_written() -> None:
    """A tensor that backward needs and that was written over is refused, as after copy_."""
    query, key, value = tensors()
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    cosine, sine = rows(13, 8), rows(13, 8)
    written = {name: torch.empty_like(x) for name, x in (("out", output), ("lse", lse))}
    before = {name: x._version for name, x in written.items()}

    def has_risen(name: str) -> bool:
        old, before[name] = before[name], written[name]._version
        return bool(written[name]._version > old)

    tilewise.attention(query, key, value, out=written["out"])
    assert has_risen("out")
    tilewise.rotary(query, cosine, sine, out=written["out"])
    assert has_risen("out")
    tilewise.merge([output], [lse], out=written["out"], lse_out=written["lse"])
    assert has_risen("out")
    assert has_risen("lse")
    out = tilewise.Gradients(query=written["out"])
    tilewise.attention_backward(output, query, key, value, output, lse, out=out)
    assert has_risen("out")
    caches = torch.zeros_like(key), torch.zeros_like(value)
    tilewise.append(key[:, :1], value[:, :1], *caches, torch.zeros(2, dtype=torch.int32))
    assert [x._version for x in caches] == [1, 1]
    weight = torch.ones(16, requires_grad=True)
    loss = (written["out"] * weight).sum()
    tilewise.attention(query, key, value, out=written["out"])
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        loss.backward()
    with torch.inference_mode():
        tilewise.attention(query, key, value, out=torch.empty_like(output))
        tilewise.attention(query, key, value, out=written["out"])


@pytest.mark.parametrize("has_lse", [False, True])
def test_many_gradients_at_once(has_lse: bool) -> None:
    given = tensors(needs_grad=True)
    found = tilewise.attention(*given, return_lse=True)
    results = found if has_lse else (tilewise.attention(*given),)
    many = [rows(3, *x.shape, seed=7) for x in results]
    batched = torch.autograd.grad(results, given, many, is_grads_batched=True, retain_graph=True)
    for index in range(3):
        one = torch.autograd.grad(results, given, [x[index] for x in many], retain_graph=True)
        for a, b in zip(batched, one):
            close(a[index], b)


def test_a_vectorised_jacobian() -> None:
    x = rows(1, 1, 3, 4)
    jacobian = torch.autograd.functional.jacobian
    given = lambda x: tilewise.sdpa(x, x, x)  # noqa: E731
    close(jacobian(given, x, vectorize=True), jacobian(given, x))


def test_a_bias_of_one_number_has_a_gradient() -> None:
    given = tensors()
    sinks, number = torch.zeros(4), torch.tensor(0.5, requires_grad=True)
    tilewise.attention(*given, bias=number, sinks=sinks).sin().sum().backward()
    wide = torch.full((1, 1, 1, 1), 0.5, requires_grad=True)
    tilewise.attention(*given, bias=wide, sinks=sinks).sin().sum().backward()
    assert number.grad.shape == ()
    close(number.grad, wide.grad.reshape(()))
