"""What torch's node hands its kernels at the edges: no gradient, freed memory, odd layouts."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
from torch_cases import functional, tilewise, torch

# Only where there is torch, which torch_cases asks.
_node = tilewise.torch._node

pytestmark = pytest.mark.skipif(not _node.IS_THERE, reason="this torch takes no kernels in C")
efficient = torch.ops.aten._scaled_dot_product_efficient_attention
efficient_backward = torch.ops.aten._scaled_dot_product_efficient_attention_backward
overrideable = torch.ops.aten._scaled_dot_product_fused_attention_overrideable
overrideable_backward = torch.ops.aten._scaled_dot_product_fused_attention_overrideable_backward
NOTHING = torch.empty(0)
ALL: Any = [True, True, True, False]


class Stop(torch.autograd.Function):  # type: ignore[misc]
    """Lets no gradient through: what arrives before it is undefined."""

    @staticmethod
    def forward(_: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(*_: Any) -> Any:
        return None


def tensors(shape: tuple[int, ...] = (1, 2, 4, 8)) -> Any:
    torch.manual_seed(5)
    return [torch.randn(shape).requires_grad_() for _ in range(3)]


def freed(shape: Any, *strides: int) -> Any:
    """A view of a storage whose memory is gone."""
    tensor = torch.ones(64).as_strided(tuple(shape), strides)
    tensor.untyped_storage().resize_(0)
    return tensor


CALLS: dict[str, Any] = {
    "sdpa": tilewise.sdpa,
    "attention": tilewise.attention,
    "mask": lambda *x: tilewise.sdpa(*x, torch.ones(4, 4, dtype=torch.bool)),
    "lse": lambda *x: tilewise.attention(*x, return_lse=True)[0],
}


@pytest.mark.parametrize(
    ("call", "shape"), [("sdpa", (2, 4, 8)), *((c, (1, 2, 4, 8)) for c in CALLS)]
)
def test_no_gradient_arrives(call: str, shape: tuple[int, ...]) -> None:
    query, key, value = tensors(shape)
    (Stop.apply(CALLS[call](query, key, value)).sum() + query.sum()).backward()
    assert torch.equal(query.grad, torch.ones(shape))
    assert key.grad is None
    assert value.grad is None


# How tensors of shape (batch, heads, length, columns) lie in memory
LAYOUTS: dict[str, Any] = {
    "heads first": lambda *shape: torch.randn(shape),
    "rows first": lambda b, h, n, d: torch.randn(b, n, h, d).transpose(1, 2),
    "batch inside": lambda b, h, n, d: torch.randn(n, h, b, d).permute(2, 1, 0, 3),
    "gaps": lambda b, h, n, d: torch.randn(b, n, 3, h, d + 1)[:, :, 1, :, :d].transpose(1, 2),
    "one for all": lambda b, h, n, d: torch.randn(1, n, h, d).transpose(1, 2).expand(b, h, n, d),
}
# The shapes of query and key, and the columns of value
SHAPES = [
    ((2, 4, 5, 8), (2, 2, 6, 8), 8),
    ((1, 1, 3, 4), (1, 1, 1, 4), 6),
    ((2, 1, 1, 8), (2, 1, 1, 8), 4),
]


def efficiently(one: Any) -> Any:
    """The gradients of the operator that has a face in Python."""
    output, lse, *_ = efficient(*one, None, True)
    rows = (torch.ones_like(output), *one, None, output, lse)
    yield from efficient_backward(*rows, NOTHING, NOTHING, 0.0, ALL)[:3]


def anyhow(one: Any) -> Any:
    """The output of the operator that is there for others to implement."""
    yield overrideable(*one)[0]


def gradients_anyhow(one: Any) -> Any:
    output, lse, *_ = overrideable(*one)
    tail = (NOTHING, NOTHING, one[0].shape[2], one[1].shape[2], 0.0, False, NOTHING, NOTHING)
    rows = (torch.ones_like(output), *one, NOTHING, ALL, output, lse)
    yield from overrideable_backward(*rows, *tail)[:3]


@pytest.mark.parametrize("run", [efficiently, anyhow, gradients_anyhow])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_results_lie_as_torch_declares(shapes: Any, layout: str, run: Any) -> None:
    """A compiled backward asserts the strides that torch's functions for meta tensors declare, so
    the kernels' results must have them."""
    rows, keys, columns = shapes
    if run is efficiently and rows[1] != keys[1] and not _node.KNOWS_GROUPS:
        pytest.skip("this torch declares gradients of key with query's heads; sdpa goes around it")
    given = [LAYOUTS[layout](*rows), LAYOUTS["gaps"](*keys), LAYOUTS[layout](*keys[:3], columns)]
    hollow = [torch.empty_strided(x.shape, x.stride(), device="meta") for x in given]
    try:
        every = list(run(hollow))
    except NotImplementedError:
        pytest.skip("this torch declares nothing")
    for number, (found, declared) in enumerate(zip(run(given), every)):
        assert found.shape == declared.shape
        if run is anyhow and declared.stride(-1) != 1:
            pytest.skip("this torch declares an output whose rows are spread")
        of_one = [size == 1 for size in found.shape]  # whose strides nobody asks
        for is_one, ours, theirs in zip(of_one, found.stride(), declared.stride()):
            assert is_one or ours == theirs, number


def test_a_backward_is_compiled() -> None:
    """The compiled backward of an eager call: meta functions of torch give the shapes."""
    compiled: Any = importlib.import_module("torch._dynamo.compiled_autograd")
    given = [torch.randn(2, heads, 5, 8, requires_grad=True) for heads in (4, 2, 2)]
    output = tilewise.sdpa(*given, enable_gqa=True)
    wanted = torch.autograd.grad(output, given, output.detach().cos(), retain_graph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch compiles by is its own matter
        with compiled._enable(torch.compile(backend="aot_eager")):
            output.backward(output.detach().cos())
    for x, gradient in zip(given, wanted):
        torch.testing.assert_close(x.grad, gradient)


def test_freed_memory_is_not_copied() -> None:
    """On every path of a gradient whose strides are zero, and for a query with spread rows."""
    query, key, value = tensors()
    mask = torch.ones(4, 4, dtype=torch.bool)
    for output in (
        tilewise.sdpa(query, key, value),
        tilewise.attention(query, key, value),
        tilewise.sdpa(query, key, value, mask),
    ):
        for create_graph in (False, True):
            with pytest.raises((RuntimeError, ValueError), match="has no memory"):
                output.backward(
                    freed(output.shape, 0, 0, 0, 0), retain_graph=True, create_graph=create_graph
                )
    spread = freed((1, 2, 4, 8), 32, 16, 1, 4)
    for call in (tilewise.sdpa, lambda *x: efficient(*x, None, True)):
        with pytest.raises((RuntimeError, ValueError), match="has no memory"):
            call(spread, key, value)


def test_spread_rows_are_copied() -> None:
    """And so are torch's zero tensors, which store one zero for all elements."""
    query, key, value = [x.detach() for x in tensors()]
    spread = query.transpose(2, 3).contiguous().transpose(2, 3)
    wanted = functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(efficient(spread, key, value, None, True)[0], wanted)
    zero = torch._efficientzerotensor(query.shape)
    mean = value.mean(2, keepdim=True).expand_as(value)
    for found in (
        efficient(zero, key, value, None, True)[0],
        tilewise.sdpa(zero, key, value),
        tilewise.sdpa(zero, key, value.requires_grad_()),
    ):
        torch.testing.assert_close(found.detach(), mean)
    for call in (tilewise.sdpa, tilewise.attention):
        output = call(query, key, value)
        (gradient,) = torch.autograd.grad(output, value, torch._efficientzerotensor(output.shape))
        assert not gradient.any()


def differentiate(**changed: Any) -> Any:
    """The efficient operator's backward by name, with some arguments changed."""
    query, key, value = (x.detach() for x in tensors())
    output, lse, *_ = efficient(query, key, value, None, True)
    given: dict[str, Any] = {
        "grad_out_": torch.ones_like(output),
        "query": query,
        "key": key,
        "value": value,
        "attn_bias": NOTHING,
        "out": output,
        "logsumexp": lse,
        "philox_seed": NOTHING,
        "philox_offset": NOTHING,
        "dropout_p": 0.0,
        "grad_input_mask": ALL,
    }
    return efficient_backward(**{**given, **changed})


WRONG = [
    ({"attn_bias": torch.ones(1, 2, 4, 4)}, "has no bias and no dropout"),
    ({"attn_bias": torch.ones(1, 2, 4, 4), "grad_input_mask": [True] * 4}, "has no bias"),
    ({"dropout_p": 0.5}, "has no bias and no dropout"),
    ({"grad_input_mask": [True] * 3}, "list of wanted gradients must have four entries"),
    ({"key": None}, "is undefined"),
    ({"logsumexp": None}, "is undefined"),
    ({"query": torch.ones(1, 2, 4, 8).int()}, "must be of float16"),
    ({"query": torch.ones(2, 4, 8)}, "of four dimensions"),
    ({"logsumexp": torch.ones(1, 2, 1).expand(1, 2, 4)}, "lse must be contiguous"),
]


@pytest.mark.parametrize(("changed", "sentence"), WRONG)
def test_a_wrong_call_of_backward_gets_a_sentence(changed: Any, sentence: str) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        differentiate(**changed)


def test_a_bias_that_is_not_there_is_none() -> None:
    for bias in (None, NOTHING):
        found = differentiate(attn_bias=bias, grad_input_mask=[True] * 4, dropout_p=-0.0)
        assert [x is not None for x in found] == ALL


def test_the_overrideable_operator_refuses_the_same() -> None:
    query, key, value = tensors()
    output, lse, *_ = overrideable(query.detach(), key.detach(), value.detach())
    rows: Any = (torch.ones_like(output), query, key, value)
    for bias, dropout in ((torch.ones(1, 2, 4, 4), 0.0), (NOTHING, 0.5)):
        tail = (NOTHING, NOTHING, 4, 4, dropout, False, NOTHING, NOTHING)
        with pytest.raises(RuntimeError, match="has no bias and no dropout"):
            overrideable_backward(*rows, bias, ALL, output, lse, *tail)


def test_what_no_memory_holds_is_said() -> None:
    """2^47 bytes of results, of a query that is one row."""
    query, key, value = (x.detach() for x in tensors((1, 1, 1, 8)))
    with pytest.raises(RuntimeError, match="not enough memory"):
        efficient(query.expand(1, 1, 2**42, 8), key, value, None, True)
