"""What a call saves for backward: the same tensors in one order in all its ways, read once."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from torch_cases import tilewise, torch

# Only where there is torch, which torch_cases asks.
_node = tilewise.torch._node

checkpoint: Any = pytest.importorskip("torch.utils.checkpoint").checkpoint
WAYS = ("node", "function", "attention", "mask", "options", "seed", "lists")


@contextlib.contextmanager
def deterministic() -> Any:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def flops() -> Any:
    return torch.utils.flop_counter.FlopCounterMode(display=False)


def layer_of(way: str) -> Any:
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    slopes = torch.ones(3)
    layers: dict[str, Any] = {
        "node": lambda *x: tilewise.sdpa(*x, is_causal=True),
        "attention": lambda *x: tilewise.attention(*x, causal=True),
        "mask": lambda *x: tilewise.sdpa(*x, mask),
        # Named in another order than the operator has them.
        "options": lambda *x: tilewise.attention(
            *(y.transpose(1, 2) for y in x), mask=mask, alibi_slopes=slopes
        ),
        "seed": lambda *x: tilewise.attention(*x, dropout=0.5, seed=2**63, dropout_offset=7),
        "lists": lambda *x: tilewise.attention(*x, key_lengths=[3, 2], query_lengths=[3, 1]),
    }
    return layers["node" if way == "function" else way]


def tensors() -> Any:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(2, 3, 5, dim, generator=generator).requires_grad_() for dim in (8, 8, 12)]


@pytest.mark.parametrize("around", [flops, torch.autograd.profiler.profile, deterministic])
@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_of_which_one_half_is_watched(
    way: str, around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint compares the tensors that forward saved with those saved again in backward."""
    if way == "function":
        monkeypatch.setattr(_node, "IS_THERE", False)
    layer, given = layer_of(way), tensors()
    wanted = torch.autograd.grad(layer(*given).sum(), given)
    for first, second in ((around, contextlib.nullcontext), (contextlib.nullcontext, around)):
        again = tensors()
        with first():
            output = checkpoint(layer, *again, use_reentrant=False).sum()
        with second():
            output.backward()
        for one, other in zip(again, wanted):
            torch.testing.assert_close(one.grad, other)


@pytest.mark.parametrize("way", WAYS)
def test_a_gradient_whose_rows_are_no_rows(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients with strides of zero, as sum sends them, and with two dimensions transposed."""
    if way == "function":
        monkeypatch.setattr(_node, "IS_THERE", False)
    layer, given = layer_of(way), tensors()
    shape = layer(*given).shape
    turned = torch.randn(*shape[:2], shape[3], shape[2]).transpose(2, 3)
    for arriving in (torch.ones(()).expand(shape), turned):
        wanted = torch.autograd.grad(layer(*given), given, arriving.contiguous())
        output = checkpoint(layer, *given, use_reentrant=False)
        for one, other in zip(torch.autograd.grad(output, given, arriving), wanted):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("way", WAYS)
def test_saved_tensors_are_unpacked_once(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the library refuses the quick call."""
    if way == "function":
        monkeypatch.setattr(_node, "IS_THERE", False)
    packed, unpacked = [], []

    def pack(tensor: Any) -> int:
        packed.append(tensor.detach())
        return len(packed) - 1

    def unpack(place: int) -> Any:
        unpacked.append(place)
        return packed[place]

    given = tensors()
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        output = layer_of(way)(*given)
    output.sum().backward()
    assert sorted(unpacked) == list(range(len(packed)))
    key, query, value, lse, result = packed[:5]
    assert value.shape[-1] == result.shape[-1] == 12
    assert lse.shape == query.shape[:3] or lse.shape == output.transpose(1, 2).shape[:3]
    assert key.data_ptr() == given[1].data_ptr()


@pytest.mark.skipif(not _node.IS_THERE, reason="this torch takes no kernels in C")
def test_the_operator_of_gpus_saves_the_same() -> None:
    """On the processor it has the same kernels, and everywhere the same node."""
    shapes: list[Any] = []
    given = tensors()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: shapes.append(x.shape), lambda x: x):
        tilewise.sdpa(*given)
        _node._on_device(*given, None, 0.0, False, False)
    assert len(shapes) == 10
    assert shapes[:5] == shapes[5:]


def test_what_a_hook_raises_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a hook goes to the caller; the call is not made again by another way."""
    calls = []

    def pack(tensor: Any) -> Any:
        calls.append(tensor.shape)
        raise RuntimeError("this hook takes nothing")

    for is_there in (_node.IS_THERE, False):
        monkeypatch.setattr(_node, "IS_THERE", is_there)
        calls.clear()
        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept)
        with hooks, pytest.raises(RuntimeError, match="takes nothing"):
            tilewise.sdpa(*tensors())
        assert len(calls) == 1
