"""What tilewise is timed beside on a GPU: ways of PyTorch, FlexAttention and FlashAttention-4.

A peer takes a cell's tensors and options as tilewise does, (batch, length, heads, dim), turns them
into what it wants before anything is timed, and declines with a reason what it does not do.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import warnings
from dataclasses import dataclass
from typing import Any, Callable

import torch
from gpu_cells import Cell
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

PACKED = ("query_offsets", "key_offsets", "max_query_length", "max_key_length")


class DeclinedError(Exception):
    """The peer does not run this cell; the message is the reason in a few words."""


@dataclass
class Prepared:
    """A call that is ready, and the tensors whose gradients are taken."""

    forward: Callable[[], Tensor]
    wanted: list[Tensor]
    is_by_head: bool  # the output is (batch, heads, length, dim)

    def rows(self) -> Tensor:
        """The output in tilewise's layout."""
        with torch.no_grad():
            output = self.forward()
        return output.transpose(1, 2) if self.is_by_head else output


class Peer:
    """What all peers share."""

    name = ""
    takes: frozenset[str] = frozenset()  # of tilewise's options

    def held(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which the peer is called."""
        return contextlib.nullcontext()

    def prepare(self, cell: Cell, given: list[Tensor]) -> Prepared:
        """The peer's call of a cell; DeclinedError if an option is not among those it takes."""
        for option in cell.options:
            if option not in self.takes and cell.options[option] is not None:
                raise DeclinedError(f"has no {option.replace('_', ' ')}")
        return self.made(cell, given)

    def made(self, cell: Cell, given: list[Tensor]) -> Prepared:
        """The peer's call of a cell whose options it takes."""
        raise NotImplementedError


def by_head(given: list[Tensor]) -> list[Tensor]:
    """Dense copies (batch, heads, length, dim) with gradients of their own."""
    return [x.detach().transpose(1, 2).contiguous().requires_grad_() for x in given]


def leaf(tensor: Tensor) -> Tensor:
    """The tensor as a leaf, which requires a gradient if the given one does."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


class Sdpa(Peer):
    """torch's scaled_dot_product_attention, restricted to one of its backends."""

    # deterministic: SDPA runs so where the caller has called torch.use_deterministic_algorithms.
    takes = frozenset({"bias", "mask", "dropout", "seed", "deterministic"})

    def __init__(self, name: str, way: SDPBackend) -> None:
        self.name, self.way = name, way

    def held(self) -> contextlib.AbstractContextManager[Any]:
        held: contextlib.AbstractContextManager[Any] = sdpa_kernel(self.way)
        return held

    def made(self, cell: Cell, given: list[Tensor]) -> Prepared:
        turned = by_head(given)
        added = cell.options.get("bias", cell.options.get("mask"))
        bias = None if added is None else leaf(added)
        if bias is not None and cell.causal:
            raise DeclinedError("no mask or bias beside causal")
        dropout = cell.options.get("dropout", 0.0)

        query, key, value = turned

        def forward() -> Tensor:
            return functional.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=bias,
                dropout_p=dropout,
                is_causal=cell.causal,
                enable_gqa=cell.is_grouped,
            )

        more = [bias] if bias is not None and bias.requires_grad else []
        return Prepared(forward, turned + more, True)


class Unfused(Peer):
    """The formula, in three calls of torch that keep the scores."""

    name = "unfused"

    def made(self, cell: Cell, given: list[Tensor]) -> Prepared:
        if cell.is_grouped:
            raise DeclinedError("has no grouped heads")
        query, key, value = turned = by_head(given)
        scale = cell.dim**-0.5
        hidden = None
        if cell.causal:
            whole = torch.ones(cell.length, cell.length, dtype=torch.bool, device=query.device)
            hidden = whole.triu(1)

        def forward() -> Tensor:
            scores = (query * scale) @ key.transpose(-1, -2)
            if hidden is not None:
                scores = scores.masked_fill(hidden, float("-inf"))
            return torch.softmax(scores, -1) @ value

        return Prepared(forward, turned, True)


class FlashAttention4(Peer):
    """The package flash-attn-4, where it is installed."""

    name = "FA4"
    takes = frozenset({"softcap", "window", "sinks", "deterministic", *PACKED})

    def __init__(self) -> None:
        self.interface: Any = importlib.import_module("flash_attn.cute.interface")

    def made(self, cell: Cell, given: list[Tensor]) -> Prepared:
        own = [leaf(x) for x in given]
        options: dict[str, Any] = {"causal": cell.causal}
        options["softcap"] = cell.options.get("softcap", 0.0)
        options["deterministic"] = cell.options.get("deterministic", False)
        if "window" in cell.options:
            options["window_size"] = cell.options["window"]
        if "sinks" in cell.options:
            options["learnable_sink"] = cell.options["sinks"].detach().to(own[0].dtype)
        call = self.interface.flash_attn_func
        if "query_offsets" in cell.options:
            call = self.interface.flash_attn_varlen_func
            options["cu_seqlens_q"] = cell.options["query_offsets"]
            options["cu_seqlens_k"] = cell.options["key_offsets"]
            options["max_seqlen_q"] = cell.options["max_query_length"]
            options["max_seqlen_k"] = cell.options["max_key_length"]

        def forward() -> Tensor:
            output: Tensor | tuple[Tensor, ...] = call(*own, **options)
            return output[0] if isinstance(output, tuple) else output

        return Prepared(forward, own, False)


def sdpa_ways() -> list[Peer]:
    """A peer for each backend of torch's function that runs on a GPU."""
    return [
        Sdpa("SDPA flash", SDPBackend.FLASH_ATTENTION),
        Sdpa("SDPA cuDNN", SDPBackend.CUDNN_ATTENTION),
        Sdpa("SDPA efficient", SDPBackend.EFFICIENT_ATTENTION),
        Sdpa("SDPA math", SDPBackend.MATH),
    ]


def reason_of(error: BaseException, said: list[str]) -> str:
    """Why a peer does not run. SDPA gives its reasons as warnings, each after a headline."""
    reasons = [
        text
        for text in said
        if not re.search("not used because|disabled|Triggered internally$", text)
    ]
    is_silent = re.search("No (available kernel|viable backend)", str(error)) is not None
    text = reasons[0] if is_silent and reasons else str(error) or type(error).__name__
    text = re.split(r"\(Triggered|\. |\n", text.strip())[0]
    return re.sub(r"\s+", " ", text)[:70]


def attempt(make: Callable[[], Any]) -> Any:
    """Returns make(); a peer's own exception becomes DeclinedError with its reason."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            return make()
        except DeclinedError:
            raise
        except Exception as error:  # a peer may fail in any way
            raise DeclinedError(reason_of(error, [str(each.message) for each in said])) from error
