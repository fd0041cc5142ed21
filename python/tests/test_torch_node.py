"""Gradients of short calls: by torch's own C++ node with the extension's kernels, or without it."""

from __future__ import annotations

from typing import Any

import pytest
from tilewise import _quick
from torch_cases import functional, tilewise, torch

# Only where there is torch, which torch_cases asks.
_node, _sdpa = tilewise.torch._node, tilewise.torch._sdpa

needs_node = pytest.mark.skipif(not _node.IS_THERE, reason="this torch takes no kernels in C")
# batch, heads, key heads, queries, keys, dim, value dim
SIZES = [(1, 8, 8, 1, 1, 64, 64), (2, 4, 2, 5, 7, 24, 40), (1, 3, 1, 33, 70, 80, 16)]


def has_node(output: Any) -> bool:
    """Whether its gradients are by a node of torch's in C++, of either operator."""
    return type(output.grad_fn).__name__.startswith("ScaledDotProduct")


def tensors(size: tuple[int, ...], dtype: Any = torch.float64) -> Any:
    """Query by rows of heads, key by heads of rows, and value a view with gaps."""
    batch, heads, key_heads, queries, keys, dim, value_dim = size
    torch.manual_seed(3)
    query = torch.randn(batch, queries, heads, dim, dtype=dtype).transpose(1, 2)
    key = torch.randn(batch, key_heads, keys, dim, dtype=dtype)
    value = torch.randn(batch, keys, 2, key_heads, value_dim, dtype=dtype)[:, :, 1].transpose(1, 2)
    return [x.requires_grad_() for x in (query, key, value)]


def test_torch_of_this_version_takes_the_kernels() -> None:
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    assert (_quick.extension is not None and version >= (2, 10)) == _node.IS_THERE


@pytest.mark.parametrize("is_there", [pytest.param(True, marks=needs_node), False])
@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"scale": -0.3, "is_causal": True}])
@pytest.mark.parametrize("size", SIZES)
def test_gradients(
    size: tuple[int, ...], options: dict[str, Any], is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_node, "IS_THERE", is_there)
    given = tensors(size)
    found = tilewise.sdpa(*given, enable_gqa=True, **options)
    wanted = functional.scaled_dot_product_attention(*given, enable_gqa=True, **options)
    assert has_node(found) == is_there
    torch.testing.assert_close(found, wanted)
    assert found.stride()[2:] == torch.empty_like(found).stride()[2:]
    for arriving in (torch.ones(()).double().expand_as(found), torch.randn_like(found)):
        ours, theirs = (
            torch.autograd.grad(output, given, arriving, retain_graph=True)
            for output in (found, wanted)
        )
        for one, other in zip(ours, theirs):
            torch.testing.assert_close(one, other)


@needs_node
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types(dtype: Any) -> None:
    given = tensors(SIZES[1], dtype)
    wide: Any = [x.detach().double().requires_grad_() for x in given]
    output = tilewise.sdpa(*given, enable_gqa=True)
    exact = functional.scaled_dot_product_attention(*wide, enable_gqa=True)
    assert output.dtype == dtype
    assert has_node(output)
    slack = 8 * torch.finfo(dtype).eps
    for one, other in zip(
        torch.autograd.grad(output.sum(), given), torch.autograd.grad(exact.sum(), wide)
    ):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, atol=slack, rtol=slack)


@needs_node
def test_only_what_is_wanted_is_computed() -> None:
    query, key, value = tensors(SIZES[0])
    output = tilewise.sdpa(query.detach(), key, value.detach())
    assert has_node(output)
    output.sum().backward()
    assert query.grad is None
    assert value.grad is None
    assert key.grad.abs().max() < 1e-12  # one key has all the weight, whatever its score


@needs_node
def test_second_order_is_refused() -> None:
    query, key, value = tensors(SIZES[0])
    output = tilewise.sdpa(query, key, value)
    (gradient,) = torch.autograd.grad(output.square().sum(), value, create_graph=True)
    with pytest.raises(RuntimeError, match="backward is not implemented"):
        torch.autograd.grad(gradient.sum(), query)


@needs_node
def test_freed_memory_is_refused() -> None:
    given = tensors(SIZES[0])
    output = tilewise.sdpa(*given)
    given[1].untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="has no memory"):
        output.sum().backward()


@needs_node
def test_a_wrong_call_of_the_operator_gets_a_sentence() -> None:
    query, key, value = torch.ones(3, 1, 2, 5, 8)
    operator = torch.ops.aten._scaled_dot_product_efficient_attention
    for _ in range(3):
        with pytest.raises(RuntimeError, match="key has dim 7 but query has 8"):
            operator(query, key[..., :7], value, None, True)
    with pytest.raises(RuntimeError, match="has no bias and no dropout"):
        operator(query, key, value, torch.zeros(1, 2, 5, 5), True)
    with pytest.raises(RuntimeError, match="has no bias and no dropout"):
        operator(query, key, value, None, True, 0.5)
    assert operator(query, key, value, None, True)[0].shape == query.shape


@needs_node
def test_deterministic_calls_go_the_longer_way() -> None:
    given = tensors(SIZES[0])
    torch.use_deterministic_algorithms(True)
    try:
        output = tilewise.sdpa(*given)
    finally:
        torch.use_deterministic_algorithms(False)
    assert type(output.grad_fn).__name__ == "ShortestBackward"
    torch.autograd.grad(output.sum(), given)


@needs_node
def test_threads_need_no_turns() -> None:
    """Neither the kernels nor the node hold Python's lock, and scratch is each thread's own."""
    import concurrent.futures

    def run(seed: int) -> bool:
        generator = torch.Generator().manual_seed(seed)
        given = [torch.randn(1, 2, 40, 32, generator=generator).requires_grad_() for _ in range(3)]
        ours = torch.autograd.grad(tilewise.sdpa(*given).sum(), given)
        theirs = torch.autograd.grad(functional.scaled_dot_product_attention(*given).sum(), given)
        return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(40)))


def test_the_way_around_takes_what_does_not_fit() -> None:
    assert _sdpa.sdpa is tilewise.torch.sdpa
    query, key, value = torch.randn(3, 2, 2, 5, 8)
    key.requires_grad_()
    spread = tilewise.sdpa(query, key[:1], value[:1])  # one batch for all
    assert not has_node(spread)
    assert torch.autograd.grad(spread.sum(), key)[0].shape == key.shape


@needs_node
@pytest.mark.parametrize("size", SIZES)
def test_the_operator_that_devices_share(size: tuple[int, ...]) -> None:
    """The second operator has the same kernels on the processor and on CUDA, but for stream and
    workspace."""
    given = tensors(size)
    output, lse, *others = _node._on_device(*given, None, 0.0, True, False, scale=0.2)
    wanted = functional.scaled_dot_product_attention(
        *given, is_causal=True, scale=0.2, enable_gqa=True
    )
    torch.testing.assert_close(output, wanted)
    batch, heads, _, queries, keys, _, _ = size
    assert lse.shape == (batch, heads, queries)
    assert others == [None, None, queries, keys, None, None, None]
    arriving = torch.randn_like(output)
    for one, other in zip(
        torch.autograd.grad(output, given, arriving), torch.autograd.grad(wanted, given, arriving)
    ):
        torch.testing.assert_close(one, other)


@needs_node
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("is_causal", [False, True])
def test_on_a_gpu(dtype: Any, is_causal: bool) -> None:
    """On a stream of its own, several in flight: scratch goes back in that stream's order."""
    given = [
        x.detach().cuda().requires_grad_() for x in tensors((2, 4, 2, 100, 130, 64, 64), dtype)
    ]
    wide: Any = [x.detach().double().cpu().requires_grad_() for x in given]
    options: dict[str, Any] = {"is_causal": is_causal, "enable_gqa": True}
    exact = functional.scaled_dot_product_attention(*wide, **options)
    slack = 8 * torch.finfo(dtype).eps if dtype == torch.bfloat16 else 1e-4
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        outputs = [tilewise.sdpa(*given, **options) for _ in range(4)]
        found = [torch.autograd.grad(output.sum(), given) for output in outputs]
    stream.synchronize()
    assert all(map(has_node, outputs))
    wanted = [exact, *torch.autograd.grad(exact.sum(), wide)]
    for output, slopes in zip(outputs, found):
        for one, other in zip((output, *slopes), wanted):
            assert one.is_cuda
            torch.testing.assert_close(one.double().cpu(), other, atol=10 * slack, rtol=10 * slack)


@needs_node
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_a_captured_graph_on_a_gpu() -> None:
    shape = (1, 4, 64, 64)
    place: dict[str, Any] = {"device": "cuda", "dtype": torch.float16}
    given: Any = [torch.randn(shape, **place).requires_grad_() for _ in range(3)]

    def step() -> Any:
        return torch.autograd.grad(tilewise.sdpa(*given, is_causal=True).sum(), given)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    with torch.no_grad():
        given[0].copy_(torch.randn(shape))
    graph.replay()
    for one, other in zip(found, step()):
        torch.testing.assert_close(one, other)


@needs_node
def test_what_the_library_refuses_goes_the_longer_way() -> None:
    """The longer way says what is wrong, or copies what the kernels cannot read."""
    given = tensors(SIZES[0])
    with pytest.raises(RuntimeError, match="scale is nan"):
        _node._on_cpu(*given, None, True, 0.0, scale=float("nan"))
    with pytest.raises(ValueError, match="scale is nan"):
        tilewise.sdpa(*given, scale=float("nan"))
