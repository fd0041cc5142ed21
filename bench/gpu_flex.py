"""torch's FlexAttention as a peer: a cell's options as functions of a score and its place."""

from __future__ import annotations

import importlib
from typing import Any, Callable

import torch
from gpu_cells import Cell
from gpu_peers import PACKED, Peer, Prepared, by_head, leaf
from torch import Tensor

Score = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
Visible = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def reader(tensor: Tensor) -> Visible:
    """A function that reads a tensor which broadcasts to (batch, heads, queries, keys)."""
    whole = tensor[(None,) * (4 - tensor.dim())]
    one = [size == 1 for size in whole.shape]

    def read(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        places = [at * 0 if single else at for at, single in zip((b, h, i, j), one)]
        return whole[tuple(places)]

    return read


def scores_of(options: dict[str, Any], bias: Tensor | None) -> Score | None:
    """Softcap, ALiBi and bias as one function, in tilewise's order; None without any of them."""
    cap, slopes = options.get("softcap", 0.0), options.get("alibi_slopes")
    added = None if bias is None else reader(bias)
    if not cap and slopes is None and added is None:
        return None

    def score(number: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if cap:
            number = cap * torch.tanh(number / cap)
        if slopes is not None:
            number = number - slopes[h] * (i - j).abs()
        return number if added is None else number + added(b, h, i, j)

    return score


def tests_of(cell: Cell, tokens: int) -> list[Visible]:
    """Tests of a pair of query and key; the key is visible if all are True."""
    options, tests = cell.options, []
    if cell.causal:
        tests.append(lambda _b, _h, i, j: j <= i)
    left, right = options.get("window") or (None, None)
    if left is not None:
        tests.append(lambda _b, _h, i, j: i - j <= left)
    if right is not None:
        tests.append(lambda _b, _h, i, j: j - i <= right)
    if options.get("mask") is not None:
        tests.append(reader(options["mask"]))
    if options.get("block_mask") is not None:
        rows, columns = options["block_size"]
        blocks = reader(options["block_mask"])
        tests.append(lambda b, h, i, j: blocks(b, h, i // rows, j // columns))
    offsets = options.get("query_offsets")
    if offsets is not None:
        places = torch.arange(tokens, device=offsets.device)
        document = torch.bucketize(places, offsets[1:], right=True)
        tests.append(lambda _b, _h, i, j: document[i] == document[j])
    return tests


def visible_of(cell: Cell, tokens: int) -> Visible | None:
    """All tests as one function; None if every key is visible."""
    tests = tests_of(cell, tokens)
    if not tests:
        return None

    def visible(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        seen = tests[0](b, h, i, j)
        for test in tests[1:]:
            seen = seen & test(b, h, i, j)
        return seen

    return visible


class Flex(Peer):
    """FlexAttention, compiled anew for each cell on a GPU."""

    name = "Flex"
    takes = frozenset(
        {"softcap", "alibi_slopes", "bias", "mask", "window", "block_mask", "block_size", *PACKED}
    )

    def __init__(self) -> None:
        self.flex: Any = importlib.import_module("torch.nn.attention.flex_attention")

    def call(self, is_on_gpu: bool) -> Callable[..., Tensor]:
        """FlexAttention's function, compiled on a GPU only."""
        if not is_on_gpu:
            function: Callable[..., Tensor] = self.flex.flex_attention
            return function
        # Compiled for one size; without donated buffers a graph gives its gradients repeatedly.
        functorch: Any = importlib.import_module("torch._functorch.config")
        functorch.donated_buffer = False
        torch.compiler.reset()
        compiled: Callable[..., Tensor] = torch.compile(self.flex.flex_attention, dynamic=False)
        return compiled

    def made(self, cell: Cell, given: list[Tensor]) -> Prepared:
        is_packed = given[0].dim() == 3
        turned = by_head([x[None] if is_packed else x for x in given])
        query, key = turned[:2]
        bias = cell.options.get("bias")
        own = None if bias is None else leaf(bias)
        visible, blocks = visible_of(cell, query.shape[2]), None
        if visible is not None:
            sizes = None, None, query.shape[2], key.shape[2]
            blocks = self.flex.create_block_mask(visible, *sizes, device=query.device)
        call, score = self.call(query.is_cuda), scores_of(cell.options, own)

        def forward() -> Tensor:
            output = call(*turned, score_mod=score, block_mask=blocks, enable_gqa=cell.is_grouped)
            return output[0].transpose(0, 1) if is_packed else output

        more = [own] if own is not None and own.requires_grad else []
        return Prepared(forward, turned + more, not is_packed)
