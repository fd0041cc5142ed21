"""Tensors on a GPU: the numbers of the processor, on torch's stream, and nobody waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from torch_cases import (
    close,
    functional,
    gradients,
    heads_first,
    nobody_may_wait,
    rows,
    tensors,
    tilewise,
    torch,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")


@pytest.fixture(autouse=True)
def warm() -> Iterator[None]:
    """Compiles kernels before a test, which may forbid waiting."""
    given = [x.cuda().requires_grad_() for x in tensors()]
    tilewise.attention(*given, dropout=0.1).sum().backward()
    yield
    torch.cuda.synchronize()


def on_gpu(given: Any) -> Any:
    return [x.detach().cuda().requires_grad_(x.requires_grad) for x in given]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"causal": True, "softcap": 3.0}, {"bias": rows(9, 13)}])
def test_as_on_the_processor(dtype: str, options: dict[str, Any]) -> None:
    tolerance = {"float16": 3e-3, "bfloat16": 3e-2, "float32": 1e-4, "float64": 1e-10}[dtype]
    given = tensors(dtype=getattr(torch, dtype), needs_grad=True, value_dim=24)
    there = {n: x.cuda() if isinstance(x, torch.Tensor) else x for n, x in options.items()}
    found = tilewise.attention(*on_gpu(given), return_lse=True, **there)
    close(
        [x.cpu() for x in found], tilewise.attention(*given, return_lse=True, **options), tolerance
    )
    slopes = gradients(lambda *x: tilewise.attention(*x, **there), on_gpu(given))
    of_processor = gradients(lambda *x: tilewise.attention(*x, **options), given)
    close([x.cpu() for x in slopes], list(of_processor), 10 * tolerance)


def test_dropout_is_the_processors() -> None:
    given, state = tensors(), torch.tensor([5, 7])
    found = tilewise.attention(*on_gpu(given), dropout=0.5, dropout_state=state.cuda())
    close(found.cpu(), tilewise.attention(*given, dropout=0.5, dropout_state=state), 1e-4)
    seeded = tilewise.attention(*on_gpu(given), dropout=0.5, seed=5, dropout_offset=7)
    close(seeded, found, 0)


def test_nobody_waits_for_lists_and_seeds() -> None:
    given = on_gpu(tensors())
    options: dict[str, Any] = {"alibi_slopes": [0.1, 0.2, 0.3, 0.4], "sinks": [0.0, 1.0, 2.0, 3.0]}
    wanted = tilewise.attention(*tensors(), **options, dropout=0.5, seed=2**63 + 5)
    with nobody_may_wait():
        found = tilewise.attention(*given, **options, dropout=0.5, seed=2**63 + 5)
        processor = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=processor):  # through the operator
            traced = tilewise.attention(*given, **options, dropout=0.5, seed=2**63 + 5)
    close([found.cpu(), traced.cpu()], [wanted, wanted], 1e-4)


def test_packed_with_tables_on_the_device() -> None:
    given = [x.flatten(0, 1) for x in tensors()]
    options = {"query_offsets": torch.tensor([0, 9, 18]), "key_offsets": torch.tensor([0, 13, 26])}
    longest = {"max_query_length": 9, "max_key_length": 13}
    there = {name: table.cuda() for name, table in options.items()}
    found = tilewise.attention(*on_gpu(given), **there, **longest)
    close(found.cpu(), tilewise.attention(*given, **options, **longest), 1e-4)


def test_caches() -> None:
    key, query = rows(2, 3, 2, 16), rows(2, 3, 4, 16, seed=5)
    angle = torch.arange(8)[:, None] * torch.linspace(0.1, 1, 8)
    lengths = torch.tensor([1, 4])
    named = {"cosine": angle.cos(), "sine": angle.sin(), "query": query}
    here, there = torch.zeros(2, 2, 8, 2, 16), torch.zeros(2, 2, 8, 2, 16).cuda()
    wanted = tilewise.append(key, key, *here, lengths, **named)
    named = {name: x.cuda() for name, x in named.items()}
    found = tilewise.append(key.cuda(), key.cuda(), *there, lengths.cuda(), **named)
    close(found.cpu(), wanted, 1e-5)
    close(there.cpu(), here, 1e-5)
    parts = tilewise.attention(found, *there, key_lengths=lengths.cuda() + 3, return_lse=True)
    output, _ = tilewise.merge([parts[0]] * 2, [parts[1]] * 2)
    close(output, parts[0], 1e-5)


def test_nobody_waits() -> None:
    given = on_gpu(tensors(needs_grad=True))
    lengths = torch.tensor([13, 4]).cuda()
    torch.cuda.synchronize()
    with nobody_may_wait():
        output = tilewise.attention(*given, key_lengths=lengths, dropout=0.5)
        output.sum().backward()


def test_the_current_stream() -> None:
    given = on_gpu(tensors())
    wanted = tilewise.attention(*given)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)
        found = tilewise.attention(given[0] + 0, *given[1:])
        assert not stream.query()
    stream.synchronize()
    close(found, wanted, 1e-6)


def test_a_captured_graph_draws_anew() -> None:
    given = on_gpu(heads_first(queries=64, keys=64))
    functional_call = tilewise.sdpa
    functional_call(*given, dropout_p=0.5)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = functional_call(*given, dropout_p=0.5)
    replays = []
    for _ in range(2):
        graph.replay()
        torch.cuda.synchronize()
        replays.append(output.clone())
    assert not torch.equal(*replays)
    mean = torch.stack(replays).mean().item()
    assert mean == pytest.approx(tilewise.sdpa(*given).mean().item(), abs=0.1)


def test_memory_comes_back() -> None:
    given = on_gpu(tensors(needs_grad=True))
    for each in range(20):
        tilewise.attention(*given).sum().backward()
        if each == 10:
            before = torch.cuda.memory_allocated()
    assert torch.cuda.memory_allocated() == before


def test_sdpa_and_its_place() -> None:
    given = on_gpu(heads_first(needs_grad=True))
    original = functional.scaled_dot_product_attention
    for options in ({}, {"is_causal": True}, {"attn_mask": (rows(9, 13) > 0).cuda()}):
        close(tilewise.sdpa(*given, **options), original(*given, **options), 1e-4)
    wanted = gradients(original, given)
    with tilewise.torch.enable():
        close(gradients(original, given), wanted, 1e-3)
    torch._dynamo.reset()
    compiled = torch.compile(tilewise.sdpa, fullgraph=True)
    close(gradients(compiled, given), wanted, 1e-3)


def test_second_order_of_float64_under_enable() -> None:
    """Calls go to torch's formulas, as without enable(): these have gradients of any order."""
    given = on_gpu(heads_first(dtype=torch.float64, needs_grad=True, batch=1, queries=3, keys=4))
    with tilewise.torch.enable():
        function = functional.scaled_dot_product_attention
        options: dict[str, Any] = {"check_fwd_over_rev": True, "fast_mode": True}
        assert torch.autograd.gradgradcheck(function, given, **options)


def test_two_devices() -> None:
    query, key, value = tensors()
    with pytest.raises(ValueError, match=r"^key lies on the processor, but query on GPU 0"):
        tilewise.attention(query.cuda(), key, value)
    with pytest.raises(ValueError, match=r"^mask lies on GPU 0, but query on the processor"):
        tilewise.attention(query, key, value, mask=(rows(9, 13) > 0).cuda())
