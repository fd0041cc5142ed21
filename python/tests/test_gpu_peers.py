"""The peers of bench/gpu_tables.py must compute what tilewise does, or decline with a reason."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from scripts import ROOT
from torch_cases import torch

sys.path.insert(0, str(ROOT / "bench"))

pytest.importorskip("torch.nn.attention.flex_attention", reason="torch is too old for it")
cells: Any = importlib.import_module("gpu_cells")
flex: Any = importlib.import_module("gpu_flex")
peers: Any = importlib.import_module("gpu_peers")

LENGTH, HEADS, DIM = 160, 2, 32
NEAR = 1e-5
PLAIN: dict[str, Any] = {"heads": HEADS, "tokens": LENGTH, "dtype": "float32"}


def cell_with(causal: bool = True, **options: Any) -> Any:
    return cells.Cell(LENGTH, DIM, causal, options=options, **PLAIN)


def all_cells() -> dict[str, Any]:
    torch.manual_seed(3)
    many = cells.features(LENGTH, HEADS, "cpu")
    bias = many["bias"]["bias"].float()
    offsets = torch.tensor([0, 60, 61, LENGTH], dtype=torch.int32)
    packed = {"query_offsets": offsets, "key_offsets": offsets}
    packed |= {"max_query_length": 99, "max_key_length": 99}
    # Every row sees a key: a row without one is not the same everywhere.
    blocks = torch.tensor([[True, False, True, False], [False, True, False, False]])
    return {
        "plain": cell_with(causal=False),
        "causal": cell_with(),
        "grouped": cells.Cell(LENGTH, DIM, True, key_heads=1, **PLAIN),
        "softcap": cell_with(**many["softcap"]),
        "ALiBi": cell_with(**many["ALiBi"]),
        "bias": cell_with(bias=bias),
        "bias over all keys": cell_with(causal=False, bias=bias),
        "random mask": cell_with(causal=False, **many["random mask"]),
        "window": cell_with(causal=False, window=(20, 0)),
        "window to both sides": cell_with(causal=False, window=(20, 5)),
        "blocks": cell_with(causal=False, block_mask=blocks[None, None], block_size=(80, 48)),
        "packed": cell_with(**packed),
    }


CELLS = all_cells()


def apart(peer: Any, cell: Any) -> float:
    """The largest difference of its output from ours."""
    given = [x.detach() for x in cells.draw(cell, "cpu")]
    with peer.held():
        prepared = peer.prepare(cell, given)
        # FlexAttention has no gradients on a processor, and says so of what could have one.
        with torch.inference_mode():
            theirs = prepared.rows()
            return float((theirs - cells.attention(cell, given)).abs().max())


@pytest.fixture(autouse=True)
def without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    def turned(given: list[Any]) -> list[Any]:
        return [x.detach().transpose(1, 2).contiguous() for x in given]

    monkeypatch.setattr(flex, "by_head", turned)


@pytest.mark.filterwarnings("ignore")  # FlexAttention wants to be compiled
@pytest.mark.parametrize("name", CELLS)
def test_flex_attention_computes_the_same(name: str) -> None:
    assert apart(flex.Flex(), CELLS[name]) < NEAR


@pytest.mark.parametrize("name", ["plain", "causal"])
def test_unfused_attention_computes_the_same(name: str) -> None:
    assert apart(peers.Unfused(), CELLS[name]) < NEAR


@pytest.mark.parametrize(
    "name", ["plain", "causal", "grouped", "bias over all keys", "random mask"]
)
def test_torchs_own_computes_the_same(name: str) -> None:
    math = peers.sdpa_ways()[-1]
    assert math.name == "SDPA math"
    assert apart(math, CELLS[name]) < NEAR


@pytest.mark.parametrize("name", ["softcap", "window", "blocks", "packed", "bias"])
def test_what_a_peer_lacks_it_declines(name: str) -> None:
    with pytest.raises(peers.DeclinedError, match=r"has no|beside causal"):
        apart(peers.sdpa_ways()[-1], CELLS[name])


def test_a_peer_that_fails_says_why_in_few_words() -> None:
    def fails() -> None:
        raise RuntimeError("It is too large. Ask for less.\nAnd much else")

    with pytest.raises(peers.DeclinedError, match=r"^It is too large$"):
        peers.attempt(fails)


def test_gradients_are_of_a_peers_own_tensors() -> None:
    cell = CELLS["causal"]
    given = cells.draw(cell, "cpu")
    prepared = peers.Unfused().prepare(cell, given)
    found = cells.directed(prepared.forward, prepared.wanted, True)()
    assert [x.shape for x in found] == [x.transpose(1, 2).shape for x in given]


def test_work_counts_visible_pairs() -> None:
    cell = cells.Cell(8, 4, True, heads=2, tokens=16)
    assert cell.operations(backward=False) == 2 * 2 * (8 * 9 / 2) * 4 * 4
    assert cell.operations(backward=True) == 2 * 2 * (8 * 9 / 2) * 4 * 10
