"""Masks of Transformers that are a band and padding: none of them is a matrix."""

from __future__ import annotations

from typing import Any

import pytest
from torch_cases import close, torch
from transformers_cases import DECODERS, face, model_of, padded, quietly, transformers

masks: Any = pytest.importorskip("tilewise.transformers._masks")
theirs = transformers.masking_utils

pytestmark = pytest.mark.filterwarnings("ignore")

# queries, keys, offset of queries, offset of keys: a whole, behind a cache, behind one of a window.
PLACES = [(5, 5, 0, 0), (5, 9, 4, 0), (5, 7, 6, 4), (2, 12, 10, 0), (5, 16, 0, 0)]
KINDS = {
    "causal": theirs.causal_mask_function,
    "both": theirs.bidirectional_mask_function,
    "window": theirs.sliding_window_causal_mask_function(4),
    "wide": theirs.sliding_window_causal_mask_function(100),
    "around": theirs.sliding_window_bidirectional_mask_function(3),
}


def padding_of(kind: str, keys: int) -> Any:
    if kind == "none":
        return None
    padding = torch.ones(2, keys, dtype=torch.bool)
    if kind == "left":
        padding[1, : keys - 3] = False
    if kind == "right":
        padding[1, -2:] = False
    return padding[:, :-1] if kind == "short" else padding


def asked(kind: str, place: tuple[int, int, int, int], padding: str) -> dict[str, Any]:
    queries, keys, q_offset, kv_offset = place
    return {
        "batch_size": 2,
        "q_length": queries,
        "kv_length": keys,
        "q_offset": q_offset,
        "kv_offset": kv_offset,
        "mask_function": KINDS[kind],
        "attention_mask": padding_of(padding, keys + kv_offset),
    }


@pytest.mark.parametrize("padding", ["none", "full", "left", "right", "short"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_mask_of_sdpa(kind: str, place: tuple[int, int, int, int], padding: str) -> None:
    given = {**asked(kind, place, padding), "allow_is_causal_skip": False}
    found, wanted = masks.mask_of(**given), theirs.sdpa_mask(**given)
    assert type(found) is masks.BandMask
    assert (found.shape, found.dtype, found.device) == (wanted.shape, wanted.dtype, wanted.device)
    with torch._C.DisableTorchFunctionSubclass():
        assert found.is_meta  # no memory
    assert torch.equal(found.full(), wanted)
    things: list[Any] = [lambda x: x[..., :3], lambda x: ~x, lambda x: torch.cat([x, x], -1)]
    for done in things:
        assert torch.equal(done(found), done(wanted))
    query = torch.randn(2, 4, place[0], 8)
    key, value = torch.randn(2, 2, 2, place[1], 8)
    module = torch.nn.Module()
    output, _ = face.attention_forward(module, query, key, value, found)
    close(output, face.attention_forward(module, query, key, value, wanted)[0])


def hide_first(mask: Any) -> None:
    mask[..., 0] = False


def show_all(mask: Any) -> None:
    mask |= torch.ones_like(mask)


def turn(mask: Any) -> None:
    torch.logical_not(mask.clone(), out=mask)


@pytest.mark.parametrize(
    "edit",
    [
        hide_first,
        show_all,
        turn,
        lambda mask: mask.masked_fill_(torch.ones(5, dtype=torch.bool), False),
        lambda mask: mask[:, :, 2].logical_not_(),
    ],
)
def test_what_is_written_to_it_stays(edit: Any) -> None:
    given = asked("causal", PLACES[0], "left")
    found, wanted = masks.mask_of(**given), theirs.sdpa_mask(**given)
    query, key, value = torch.randn(3, 2, 2, 5, 8)
    module = torch.nn.Module()
    before = face.attention_forward(module, query, key, value, found)[0]
    edit(found)
    edit(wanted)
    assert type(found) is masks.BandMask
    assert (found.shape, found.dtype, found.device) == (wanted.shape, wanted.dtype, wanted.device)
    assert torch.equal(found & True, wanted)
    after = face.attention_forward(module, query, key, value, found)[0]
    assert not torch.equal(after, before)
    close(after, face.attention_forward(module, query, key, value, wanted)[0])


def test_what_a_mode_makes_of_it_does_not_outlive_the_mode() -> None:
    found = masks.mask_of(**asked("causal", PLACES[0], "left"))
    wanted = found._make()
    with pytest.importorskip("torch._subclasses").FakeTensorMode(allow_non_fake_inputs=True):
        assert type(found.full()) is not torch.Tensor
    torch.func.vmap(lambda x: x + found.sum())(torch.ones(2))
    assert type(found.full()) is torch.Tensor
    assert torch.equal(found & True, wanted)


@pytest.mark.parametrize("kind", ["causal", "wide", "window"])
@pytest.mark.parametrize("place", PLACES)
def test_none_is_what_sdpa_would_leave_away(kind: str, place: tuple[int, int, int, int]) -> None:
    given = {**asked(kind, place, "full"), "local_size": {"window": 4, "wide": 100}.get(kind)}
    found, wanted = masks.mask_of(**given), theirs.sdpa_mask(**given)
    if wanted is None:
        assert found is None
    if found is None:
        queries, keys, shift = place[0], place[1], place[2] - place[3]
        assert shift == 0
        if wanted is not None:  # SDPA asks whether all keys are in the window; queries' keys are
            ends = torch.arange(keys) <= torch.arange(queries)[:, None]
            assert torch.equal(wanted[0, 0], ends)
    bidirectional = {**asked("both", place, "full"), "allow_is_bidirectional_skip": True}
    bidirectional["allow_is_causal_skip"] = False
    assert masks.mask_of(**bidirectional) is None


def test_what_is_no_band_is_left_to_transformers() -> None:
    given = asked("causal", PLACES[0], "left")
    chunks = theirs.chunked_causal_mask_function(3, torch.zeros(2, dtype=torch.long))
    mine = theirs.or_masks(theirs.causal_mask_function, lambda *of: of[3] == 4)
    looks_like = theirs.and_masks(lambda *of: of[3] < 2, theirs.causal_mask_function)
    for function in (chunks, mine, looks_like):
        for change in ({}, {"attention_mask": None, "allow_is_causal_skip": False}):
            changed = {**given, "mask_function": function, **change}
            found = masks.mask_of(**changed)
            assert type(found) is torch.Tensor
            assert torch.equal(found, theirs.sdpa_mask(**changed))
    static = {**given, "q_offset": torch.tensor(0), "q_length": 3}
    assert type(masks.mask_of(**static)) is torch.Tensor


def test_padding_takes_no_square() -> None:
    padding = torch.ones(1, 1 << 20, dtype=torch.bool)
    padding[0, :5] = False
    found = masks.mask_of(
        batch_size=1,
        q_length=1 << 20,
        kv_length=1 << 20,  # a matrix of them would have a TiB
        mask_function=theirs.causal_mask_function,
        attention_mask=padding,
    )
    assert found.shape == (1, 1, 1 << 20, 1 << 20)
    (mask,) = [x for x in found.options().values() if isinstance(x, torch.Tensor)]
    assert mask.untyped_storage().nbytes() == 1 << 20


def test_layers_that_are_compiled_alone() -> None:
    face.enable()
    try:
        model = model_of(DECODERS["Mistral"])
        ids, mask = padded("left")
        wanted = quietly(model, ids, attention_mask=mask).logits
        model.set_attn_implementation("tilewise")
        close(quietly(model, ids, attention_mask=mask).logits[mask.bool()], wanted[mask.bool()])
        for layer in model.model.layers:
            layer.forward = torch.compile(layer.forward, backend="eager")
        close(quietly(model, ids, attention_mask=mask).logits[mask.bool()], wanted[mask.bool()])
    finally:
        face.disable()
