"""The names that other packages import from flash_attn_interface, and flash_attn_2_cuda."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
from flash_cases import INFINITY, all_close, dense, flash, formula, packed, parameters
from torch_cases import close, torch

interface: Any = importlib.import_module("tilewise.flash_attn.flash_attn_interface")
compiled_part: Any = importlib.import_module("tilewise.flash_attn.flash_attn_2_cuda")
SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625])
CASES: list[tuple[float, bool, int, int, float, Any]] = [
    (0.0, False, -1, -1, 0.0, None),
    (0.0, True, -1, -1, 2.0, None),
    (0.3, True, 4, 0, 0.0, None),
    (0.0, True, -1, -1, 0.0, SLOPES),
    (0.2, False, 3, 3, 0.0, SLOPES),
]


def asked(case: Any) -> tuple[Any, Any]:
    """What stands before and behind alibi_slopes in forward's arguments."""
    dropout, causal, left, right, softcap, slopes = case
    return (dropout, 0.3, causal, left, right, softcap), slopes


@pytest.mark.parametrize("case", CASES, ids=str)
def test_backward_follows_forward(case: Any) -> None:
    scores, slopes = asked(case)
    q, k, v = inputs = dense()
    torch.manual_seed(1)
    options = {"softcap": case[4], "alibi_slopes": slopes, "window_size": case[2:4]}
    wanted = flash.flash_attn_func(q, k, v, case[0], 0.3, case[1], **options)
    gradient = torch.ones_like(wanted)
    expected = torch.autograd.grad(wanted, inputs, gradient)
    torch.manual_seed(1)
    out, lse, s_dmask, state = interface._flash_attn_forward(q, k, v, *scores, slopes, False)
    close(out, wanted.detach())
    assert not out.requires_grad
    assert lse.shape == (2, 4, 9)
    assert s_dmask.numel() == 0
    assert state.shape == (2,)
    places = [torch.full_like(x, 7.0) for x in inputs]
    read = (gradient, q, k, v, out, lse)
    sums = interface._flash_attn_backward(*read, *places, *scores, slopes, False, state)
    for place, one in zip(places, expected):
        close(place, one)
    assert sums.shape == (2, 4, 128)
    close(sums[:, :, :9], (gradient * out).sum(-1).transpose(1, 2))
    rest = (slopes, *scores, False, None, state)
    found = compiled_part.bwd(*read, None, None, None, *rest)
    for one, other in zip(found, expected):
        close(one, other)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_varlen_backward_follows_forward(case: Any) -> None:
    scores, slopes = asked(case)
    q, offsets = packed((5, 1, 7), 4, 16, 1)
    k, offsets_k = packed((8, 3, 4), 2, 16, 2)
    v, _ = packed((8, 3, 4), 2, 16, 3)
    lengths = (offsets, offsets_k, 7, 8)
    torch.manual_seed(1)
    options = {"softcap": case[4], "alibi_slopes": slopes, "window_size": case[2:4]}
    wanted = flash.flash_attn_varlen_func(q, k, v, *lengths, case[0], 0.3, case[1], **options)
    gradient = torch.ones_like(wanted)
    expected = torch.autograd.grad(wanted, (q, k, v), gradient)
    torch.manual_seed(1)
    forward = interface._flash_attn_varlen_forward
    out, lse, _, state = forward(q, k, v, *lengths, *scores, slopes)
    close(out, wanted.detach())
    places = [torch.full_like(x, 7.0) for x in (q, k, v)]
    read = (gradient, q, k, v, out, lse)
    given = (*lengths, *scores, slopes, False, state)
    sums = interface._flash_attn_varlen_backward(*read, *places, *given)
    for place, one in zip(places, expected):
        close(place, one)
    assert sums.shape == (4, 13 + 3 * 128)
    rest = (offsets, offsets_k, slopes, 7, 8, *scores[:2], False, *scores[2:], False, None, state)
    for one, other in zip(compiled_part.varlen_bwd(*read, None, None, None, *rest), expected):
        close(one, other)


def test_new_gradients_of_rows_that_no_sequence_owns_are_zero() -> None:
    q, k, v = (torch.randn(64, 2, 16) for _ in range(3))
    ends = torch.tensor([0, 3, 6], dtype=torch.int32)
    scores = (0.0, 0.25, False, -1, -1, 0.0)
    out, lse, _, _ = interface._flash_attn_varlen_forward(q, k, v, ends, ends, 3, 3, *scores)
    read = (torch.ones_like(out), q, k, v, out, lse)
    rest = (ends, ends, None, 3, 3, *scores[:2], False, *scores[2:], False)
    junk = [torch.full_like(q, 7.0) for _ in range(8)]
    del junk  # so that the allocator has memory with other numbers
    for gradient in compiled_part.varlen_bwd(*read, None, None, None, *rest)[:3]:
        assert gradient[:6].any()
        assert not gradient[6:].any()


def test_the_compiled_part_backward_wants_tensors() -> None:
    read = (*(torch.randn(1, 2, 2, 8) for _ in range(5)), None)
    rest = (None, None, None, None, 0.0, 1.0, False, -1, -1, 0.0, False)
    with pytest.raises(ValueError, match="softmax_lse is None"):
        compiled_part.bwd(*read, *rest)


def test_gradients_of_parts_follow_from_the_merged_lse() -> None:
    """Ring attention computes gradients for each part of the keys, with the lse of all keys."""
    q, k, v = inputs = dense(keys=12)
    wanted, lse = formula(*inputs)
    gradient = torch.ones_like(wanted)
    expected = torch.autograd.grad(wanted, inputs, gradient)
    made: list[Any] = [torch.zeros_like(q), [], []]
    tail = (0.0, 0.25, False, -1, -1, 0.0, None, False, None)
    for rows in (slice(0, 5), slice(5, 12)):
        places = [torch.empty_like(q), torch.empty_like(k[:, rows]), torch.empty_like(v[:, rows])]
        read = (gradient.float(), q, k[:, rows], v[:, rows], wanted.detach().float())
        interface._flash_attn_backward(*read, lse.detach().float(), *places, *tail)
        made[0] += places[0]
        made[1].append(places[1])
        made[2].append(places[2])
    found = (made[0], torch.cat(made[1], 1), torch.cat(made[2], 1))
    for one, other in zip(found, expected):
        close(one, other.float())


def test_places_that_lie_otherwise_and_those_left_out() -> None:
    q, k, v = inputs = dense(queries=6, keys=4)
    out, lse, _, state = interface._flash_attn_forward(
        q, k, v, 0.0, 0.25, True, -1, -1, 0.0, None, False
    )
    assert (lse[:, :, :2] == INFINITY).all()
    place = torch.empty(2, 4, 16, 2).transpose(2, 3)
    read = (torch.ones_like(out), q, k, v, out, lse)
    tail = (0.0, 0.25, True, -1, -1, 0.0, None, False, state)
    interface._flash_attn_backward(*read, None, place, None, *tail)
    expected = torch.autograd.grad(formula(*inputs, causal=True)[0].sum(), k)[0]
    close(place, expected)
    with pytest.raises(ValueError, match="without rng_state"):
        interface._flash_attn_backward(*read, None, place, None, 0.1, *tail[1:-1])


@pytest.mark.filterwarnings("ignore")
def test_compiled_backward() -> None:
    q, k, v = dense(grad=False)

    def call(q: Any, k: Any, v: Any) -> Any:
        scores = (0.0, 0.25, True, -1, -1, 0.0)
        out, lse, _, state = interface._flash_attn_forward(q, k, v, *scores, None, False)
        places = [torch.empty_like(x) for x in (q, k, v)]
        read = (out, q, k, v, out, lse)
        interface._flash_attn_backward(*read, *places, *scores, None, False, state)
        return places

    found = torch.compile(call, fullgraph=True, backend="aot_eager")(q, k, v)
    for one, other in zip(found, call(q, k, v)):
        close(one, other)


def test_the_compiled_part_forward() -> None:
    q, k, v = dense()
    place = torch.empty_like(q)
    tail = (0.0, 0.25, True, -1, -1, 0.0, False, None)
    found = compiled_part.fwd(q, k, v, place.detach(), None, *tail)
    wanted, lse = formula(q, k, v, causal=True)
    close(place.detach(), wanted.float().detach())
    close(found[1], lse.float().detach())
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    offsets = (torch.tensor([0, 9, 18]), torch.tensor([0, 13, 26]))
    rest = (None, None, None, None, 9, 13, 0.0, 0.25, False, *tail[2:])
    found = compiled_part.varlen_fwd(*flat, None, *offsets, *rest)
    close(found[0], wanted.float().detach().flatten(0, 1))
    with pytest.raises(ValueError, match="`generator` argument"):
        compiled_part.fwd(q, k, v, None, None, *tail[:-1], torch.Generator())


def test_the_compiled_part_with_a_cache() -> None:
    q, k, v = dense(grad=False)
    used = torch.tensor([5, 13], dtype=torch.int32)
    absent = (None,) * 5
    tail = (0.25, True, -1, -1, 0.0, True, 0)
    found = compiled_part.fwd_kvcache(q, k, v, None, None, used, *absent, None, None, *tail)
    close(found[0], flash.flash_attn_with_kvcache(q, k, v, cache_seqlens=used, causal=True))
    assert found[1].shape == (2, 4, 9)


def test_classes_with_apply() -> None:
    q, k, v = inputs = dense()
    tail = (0.0, None, True, (-1, -1), 0.0, None, False, False)
    found = interface.FlashAttnFunc.apply(q, k, v, *tail, True)
    wanted, _ = formula(*inputs, causal=True)
    all_close(found, wanted, inputs)
    assert not interface.FlashAttnFunc.apply(q, k, v, *tail, False).requires_grad
    kv = torch.stack((k, v), 2)
    close(interface.FlashAttnKVPackedFunc.apply(q, kv, *tail, True), found)
    qkv = torch.stack((q, q, q), 2)
    one = interface.FlashAttnQKVPackedFunc.apply(qkv, *tail, True)
    close(one.double(), formula(q, q, q, causal=True)[0])
    ends, ends_k = torch.tensor([0, 9, 18]), torch.tensor([0, 13, 26])
    flat = [x.flatten(0, 1) for x in (q, k, v)]
    varlen = interface.FlashAttnVarlenFunc.apply(*flat, ends, ends_k, 9, 13, *tail, None, True)
    close(varlen, found.flatten(0, 1))
    given = (flat[0], kv.flatten(0, 1), ends, ends_k, 9, 13)
    close(interface.FlashAttnVarlenKVPackedFunc.apply(*given, *tail, True), varlen)
    own = interface.FlashAttnVarlenQKVPackedFunc.apply(qkv.flatten(0, 1), ends, 9, *tail, True)
    close(own, one.flatten(0, 1))
    with pytest.raises(TypeError, match="needs the 8 arguments"):
        interface.FlashAttnFunc.apply(q, k, v)


def test_small_names() -> None:
    x = torch.zeros(2, 3, 4)
    assert interface.maybe_contiguous(x) is x
    assert interface.maybe_contiguous(x.transpose(1, 2)).stride(-1) == 1
    assert interface.maybe_contiguous(None) is None
    assert interface.round_multiple(129, 128) == 256
    assert interface.USE_TRITON_ROCM is False
    assert interface.flash_attn_gpu is compiled_part
    assert interface._get_block_size_n(torch.device("cpu"), 64, True, False) >= 2**20
    for name in ("forward", "backward", "varlen_forward", "varlen_backward"):
        function = getattr(interface, f"_wrapped_flash_attn_{name}")
        assert inspect.signature(function) == inspect.signature(
            getattr(interface, f"_flash_attn_{name}")
        )


def test_the_two_forwards_say_their_defaults() -> None:
    """Ring attention looks at these names for arguments to fill in."""
    names = [name for name, _ in parameters(interface._flash_attn_forward)]
    assert {"window_size_left", "window_size_right"} <= set(names)
    assert "window_size" not in names
