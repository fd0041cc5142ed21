"""attention_backward and attention_probabilities before whoever traces, counts or transforms."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from tilewise._call import Operands
from torch_cases import close, rows, tensors, tilewise, torch

importlib.import_module("tilewise.torch")  # defines the operators
# torch warns of itself: of its own deprecated calls, and of vmap's slow loop.
pytestmark = pytest.mark.filterwarnings("ignore")
BIASED = {"bias": rows(4, 1, 13), "sinks": rows(4), "alibi_slopes": [0.1, 0.2, 0.3, 0.4]}
PACKED: dict[str, Any] = {
    "query_offsets": [0, 2, 9],
    "key_offsets": [0, 7, 13],
    "max_query_length": 8,
    "max_key_length": 9,
}


def called(options: Any, **more: Any) -> Any:
    """A function of query, key and value alone, and what it is called with."""
    given = tensors()
    if "query_offsets" in options:
        given = tuple(x[0] for x in given)
    output, lse = tilewise.attention(*given, return_lse=True, **options)

    def function(*rows: Any) -> Any:
        found = tilewise.attention_backward(output, *rows, output, lse, **options, **more)
        return tuple(x for x in found if x is not None)

    return function, given


@pytest.mark.parametrize("options", [{}, BIASED, PACKED], ids=["plain", "bias", "packed"])
def test_backward_is_traced(options: Any) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    function, given = called(options)
    other = tuple(x * 0.5 for x in given)
    wanted = function(*other)
    traced = make_fx(function)(*given)
    assert "tilewise.attention_backward" in traced.code
    close(traced(*other), wanted, 0)
    close(torch.jit.trace(function, given)(*other), wanted, 0)
    torch._dynamo.reset()
    close(torch.compile(function, fullgraph=True, backend="aot_eager")(*other), wanted, 0)
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = function(*(mode.from_tensor(x) for x in given))
    assert [(x.shape, x.stride(), x.dtype) for x in fakes] == [
        (x.shape, x.stride(), x.dtype) for x in wanted
    ]


def test_backward_is_counted_and_mapped() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    function, given = called({})
    with FlopCounterMode(display=False) as counter:
        function(*given)
    assert counter.get_total_flops() == 5 * 2 * 2 * 4 * 9 * 13 * 16
    mapped = torch.vmap(function)(*(torch.stack([x, -x]) for x in given))
    close([x[0] for x in mapped], list(function(*given)))


def test_backward_of_a_users_function() -> None:
    class Mine(torch.autograd.Function):  # type: ignore[misc,name-defined,unused-ignore]
        @staticmethod
        def forward(ctx: Any, *given: Any) -> Any:
            output, lse = tilewise.attention(*given, causal=True, return_lse=True)
            ctx.save_for_backward(*given, output, lse)
            return output

        @staticmethod
        def backward(ctx: Any, arriving: Any) -> Any:
            return tilewise.attention_backward(arriving, *ctx.saved_tensors, causal=True)[:3]

    given = tensors(needs_grad=True)
    wanted = torch.autograd.grad(tilewise.attention(*given, causal=True).sum(), given)
    close(torch.autograd.grad(Mine.apply(*given).sum(), given), wanted)
    torch._dynamo.reset()
    compiled = torch.compile(Mine.apply, fullgraph=True, backend="aot_eager")
    close(torch.autograd.grad(compiled(*given).sum(), given), wanted)


@pytest.mark.parametrize("options", [{}, PACKED], ids=["plain", "packed"])
def test_backward_into_places(options: Any) -> None:
    function, given = called(options, key_gradient=False)
    wanted = function(*given)

    def into(query_out: Any, workspace: Any, *rows: Any) -> Any:
        places = tilewise.Gradients(query=query_out)
        more = {"out": places, "workspace": workspace, "key_gradient": False}
        return called(options, **more)[0](*rows)

    workspace = torch.full((1 << 18,), 77, dtype=torch.uint8)
    with torch.profiler.profile() as profile:
        found = into(torch.full_like(given[0], 7.0), workspace, *given)
    assert any("attention_backward_into" in event.key for event in profile.key_averages())
    assert (workspace != 77).any()
    close(found, wanted, 0)
    from tilewise.torch import _operators

    output, lse = tilewise.attention(*tensors(), return_lse=True)
    flat = _operators.flatten(Operands(*tensors()), {}, {}, 0)
    outs = (torch.empty(2, 9, 4, 16), *(None,) * 5, workspace)
    operator = torch.ops.tilewise.attention_backward_into.default
    torch.library.opcheck(operator, (*outs[:6], None, output, None, output, lse, 0b111, *flat))


@pytest.mark.parametrize("options", [{}, PACKED], ids=["plain", "packed"])
def test_probabilities_are_traced(options: Any) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    query, key, _ = (x[0] for x in tensors()) if options else tensors()

    def function(query: Any, key: Any) -> Any:
        return tilewise.attention_probabilities(query, key, causal=True, **options)

    wanted = function(query * 0.5, key)
    traced = make_fx(function)(query, key)
    assert "tilewise.attention_probabilities" in traced.code
    close(traced(query * 0.5, key), wanted, 0)
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    close(compiled(query * 0.5, key), wanted, 0)
    out = torch.full_like(wanted, 7.0)
    with torch.profiler.profile() as profile:
        tilewise.attention_probabilities(query * 0.5, key, causal=True, out=out, **options)
    assert any("attention_probabilities_into" in event.key for event in profile.key_averages())
    assert options or bool((out == wanted).all())


def test_probabilities_of_unknown_lengths() -> None:
    query, key, _ = (x[0] for x in tensors())
    offsets = {"query_offsets": PACKED["query_offsets"], "key_offsets": PACKED["key_offsets"]}
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode() as mode:
        fakes = mode.from_tensor(query), mode.from_tensor(key)
        with pytest.raises(ValueError, match=r"^key_offsets are given, and"):
            tilewise.attention_probabilities(*fakes, **offsets)
