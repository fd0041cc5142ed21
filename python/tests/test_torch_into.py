"""The caller's output and workspace: the same whoever watches the call."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import pytest
from tilewise._call import Operands
from torch_cases import close, rows, tensors, tilewise, torch

FlopCounterMode: Any = importlib.import_module("torch.utils.flop_counter").FlopCounterMode
PACKED = rows(9, 4, 16), rows(9, 2, 16, seed=1), rows(9, 2, 16, seed=2)
OPTIONS = {
    "query_offsets": torch.tensor([0, 3, 7]),  # rows 7 and 8 are nobody's
    "key_offsets": torch.tensor([0, 4, 7]),
    "max_query_length": 4,
    "max_key_length": 4,
}


def into(out: Any, workspace: Any = None) -> Any:
    return tilewise.attention(*PACKED, out=out, workspace=workspace, **OPTIONS)


def watched(name: str) -> Any:
    if name == "profiler":
        return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    return FlopCounterMode(display=False) if name == "flops" else contextlib.nullcontext()


@pytest.mark.filterwarnings("ignore")  # of profilers and compilers
@pytest.mark.parametrize("name", ["nobody", "profiler", "flops", "compile"])
def test_rows_of_no_sequence_are_left_alone(name: str) -> None:
    out = torch.full((9, 4, 16), 7.0)
    workspace = torch.full((1 << 18,), 77, dtype=torch.uint8)
    call: Any = into
    if name == "compile":
        torch._dynamo.reset()
        call = torch.compile(into, fullgraph=True, backend="aot_eager")
    with watched(name):
        found = call(out, workspace)
    assert found is out or name == "compile"
    assert (out[7:] == 7).all()
    assert not (out[:7] == 7).any()
    assert (workspace != 77).any()  # it was worked in
    close(out[:7], into(torch.zeros(9, 4, 16))[:7], 0)
    if name == "compile":
        torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["nobody", "profiler", "flops"])
def test_what_is_written_is_noted(name: str) -> None:
    """Places and the workspace get a new version, so that a backward that saved them refuses."""
    x, lse = rows(1, 64, 2, 32), torch.zeros(1, 2, 64)
    tables = torch.ones(2, 64, 8)
    places = {
        "attention": torch.empty_like(x),
        "probabilities": torch.empty(1, 2, 64, 64),
        "backward": torch.empty_like(x),
        "rotary": torch.empty_like(x),
        "merge": torch.empty_like(x),
        "cache": torch.zeros_like(x),
    }
    workspace = torch.empty(1 << 20, dtype=torch.uint8)
    with watched(name):
        tilewise.attention(x, x, x, workspace=workspace)
        assert workspace._version == 1
        tilewise.attention(x, x, x, out=places["attention"])
        tilewise.attention_probabilities(x, x, out=places["probabilities"], workspace=workspace)
        assert workspace._version == 2
        found = tilewise.Gradients(query=places["backward"])
        tilewise.attention_backward(x, x, x, x, x, lse, out=found, workspace=workspace)
        tilewise.attention_backward(x, x, x, x, x, lse, workspace=workspace)
        assert workspace._version == 4
        tilewise.rotary(x, *tables, out=places["rotary"])
        tilewise.merge([x, x], [lse, lse], out=places["merge"])
        tilewise.append(x, x, places["cache"], torch.zeros_like(x), [0])
    assert {key: place._version for key, place in places.items()} == dict.fromkeys(places, 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["nobody", "profiler", "flops", "compile"])
def test_turned_rows_of_no_sequence_are_left_alone(name: str) -> None:
    cosine, sine = torch.randn(2, 9, 8)
    x, new = rows(2, 4, 3, 16), rows(2, 4, 3, 16, seed=1)
    lengths, filled = torch.tensor([3, 2]), torch.tensor([1, 0])

    def turn(out: Any, other: Any) -> Any:
        caches = torch.zeros(2, 2, 9, 3, 16)
        turned = tilewise.append(
            *(new, new, *caches, filled),
            **{"cosine": cosine, "sine": sine, "query": x, "query_lengths": lengths, "out": out},
        )
        also = tilewise.rotary(x, cosine, sine, lengths=lengths, out=other)
        return turned, also, caches

    call: Any = turn
    if name == "compile":
        torch._dynamo.reset()
        call = torch.compile(turn, fullgraph=True, backend="aot_eager")
    outs = [torch.full((2, 4, 3, 16), 7.0) for _ in range(2)]
    with watched(name):
        found = call(*outs)
    wanted = turn(None, None)
    close(found[2], wanted[2], 0)
    for out, turned, right in zip(outs, found, wanted):
        close(out, turned, 0)
        for sequence, length in enumerate(lengths.tolist()):
            close(out[sequence, :length], right[sequence, :length], 0)
            assert (out[sequence, length:] == 7).all()
    if name == "compile":
        torch._dynamo.reset()


def test_a_workspace_under_a_mode_without_out() -> None:
    given = tensors()
    workspace = torch.zeros(1 << 18, dtype=torch.uint8)
    wanted = tilewise.attention(*given, return_lse=True)
    with FlopCounterMode(display=False):
        found = tilewise.attention(*given, return_lse=True, workspace=workspace)
    close(found, wanted, 0)
    assert workspace.any()
    with FlopCounterMode(display=False), pytest.raises(ValueError, match="workspace"):
        tilewise.attention(*given, workspace=workspace[:64])


@pytest.mark.parametrize("name", ["nobody", "flops"])
def test_gradients_have_no_way_into_either(name: str) -> None:
    given = tensors(needs_grad=True)
    with watched(name):
        for place in ("out", "workspace"):
            with pytest.raises(ValueError, match=f"^{place} is given, but query, key, value or an"):
                tilewise.attention(*given, **{place: torch.zeros(2, 9, 4, 16)})


def test_transforms_write_nowhere() -> None:
    out, given = torch.zeros(2, 9, 4, 16), tensors()

    def call(query: Any) -> Any:
        return tilewise.attention(query, *given[1:], out=out)

    with pytest.raises(ValueError, match=r"^out or workspace is given, but torch\.func transforms"):
        torch.func.vmap(call)(given[0][None])


def count(call: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def test_flops_are_those_of_torchs_own() -> None:
    query, key, value = (rows(2, 4, n, 16, needs_grad=True) for n in (9, 13, 13))

    def step(attention: Any) -> None:
        attention(query, key, value).sum().backward()

    forward = 2 * 2 * 4 * 9 * 13 * (16 + 16)
    assert count(lambda: tilewise.sdpa(query, key, value)) == forward
    assert count(lambda: step(tilewise.sdpa)) == forward + 2 * 2 * 4 * 9 * 13 * 5 * 16
    with torch.nn.attention.sdpa_kernel([torch.nn.attention.SDPBackend.MATH]):
        theirs = count(lambda: torch.nn.functional.scaled_dot_product_attention(query, key, value))
    assert forward == theirs
    assert count(lambda: tilewise.attention(*(x.mT.contiguous().mT for x in tensors()))) == forward


def test_flops_of_packed_sequences_and_of_caches() -> None:
    assert count(lambda: into(None)) == count(lambda: into(torch.zeros(9, 4, 16)))
    assert count(lambda: into(None)) == 2 * 4 * (3 * 4 + 4 * 3) * (16 + 16)
    query, pages = rows(2, 1, 4, 16), rows(6, 8, 2, 16)
    table = torch.tensor([[0, 1], [2, 3]])
    options = {"page_table": table, "key_lengths": torch.tensor([9, 16])}
    call = count(lambda: tilewise.attention(query, pages, pages, **options))
    assert call == 2 * 4 * 2 * 16 * (16 + 16)


def test_opcheck_of_what_writes() -> None:
    operators: Any = importlib.import_module("tilewise.torch._operators")
    query = rows(2, 9, 4, 16)
    flat = operators.flatten(Operands(query, query, query), {}, {"causal": True}, 0)
    workspace = torch.zeros(1 << 18, dtype=torch.uint8)
    given = (torch.zeros_like(query), workspace, *flat)
    torch.library.opcheck(torch.ops.tilewise.attention_into.default, given)
    tables, rest = torch.randn(2, 9, 8), (None,) * 5 + (False, False, False, 0)
    given = (torch.zeros_like(query), query, *tables, *rest)
    torch.library.opcheck(torch.ops.tilewise.rotary_into.default, given)
