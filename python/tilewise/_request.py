"""Settings as the structs that hang on a request. One that would ask for nothing is left out."""

from __future__ import annotations

import os
from ctypes import pointer
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewise import _abi
from tilewise import _arguments as check
from tilewise._tensor import (
    Array,
    Borrower,
    booleans,
    integers,
    reals,
    require_array,
    unmasked,
    with_leading_ones,
)
from tilewise.options import Settings

_LARGEST_SEED = 2**64 - 1
_NO_MASK, _NO_SCORES = bytes(_abi.Mask()), bytes(_abi.Scores())
_DIAGONALS = {"bottom_right": _abi.Diagonal.BOTTOM_RIGHT, "top_left": _abi.Diagonal.TOP_LEFT}


def build_options(settings: Settings, borrow: Borrower, wide: np.dtype[Any]) -> _abi.Options:
    """All that a request carries; arrays stay with `borrow`, numbers are at most `wide`."""
    options = _abi.Options(deterministic=check.flag("deterministic", settings.deterministic))
    parts: dict[str, Any] = {
        "mask": _mask(settings, borrow),
        "scores": _scores(settings, borrow, wide),
        "dropout": _dropout(settings, borrow),
        "queries": sequences(
            borrow,
            {
                "query_offsets": settings.query_offsets,
                "query_lengths": settings.query_lengths,
                "query_start": settings.query_start,
            },
            ("max_query_length", settings.max_query_length),
        ),
        "keys": sequences(
            borrow,
            {
                "key_offsets": settings.key_offsets,
                "key_lengths": settings.key_lengths,
                "key_start": settings.key_start,
            },
            ("max_key_length", settings.max_key_length),
        ),
        "cache": cache(
            borrow,
            {
                "page_table": settings.page_table,
                "cache_batch_index": settings.cache_batch_index,
            },
        ),
        "scaling": _scaling(settings, borrow, wide),
    }
    for name, part in parts.items():
        if part is not None:
            setattr(options, name, pointer(part))
    return options


def sequences(
    borrow: Borrower,
    tables: dict[str, npt.ArrayLike | None],
    longest: tuple[str, int | None],
) -> _abi.Sequences | None:
    """One side's sequences; `tables` names offsets, lengths and start, in this order."""
    name, bound = longest
    if bound is None and all(table is None for table in tables.values()):
        return None
    result = _abi.Sequences(max_length=0 if bound is None else check.integer(name, bound, low=0))
    for member, (table_name, table) in zip(("offsets", "used", "start"), tables.items()):
        if table is not None:
            setattr(result, member, borrow.input(table_name, integers(table_name, table)))
    return result


def cache(borrow: Borrower, tables: dict[str, npt.ArrayLike | None]) -> _abi.Cache | None:
    """A cache; `tables` names the page table and the batch index, in this order."""
    if all(table is None for table in tables.values()):
        return None
    result = _abi.Cache()
    for member, (table_name, table) in zip(("page_table", "batch_index"), tables.items()):
        if table is not None:
            setattr(result, member, borrow.input(table_name, integers(table_name, table)))
    return result


def bias_view(settings: Settings) -> Array | None:
    """The bias in four dimensions, not copied: its gradient has to have the same shape."""
    if settings.bias is None:
        return None
    return with_leading_ones("bias", require_array("bias", unmasked("bias", settings.bias)), 4)


def _mask(settings: Settings, borrow: Borrower) -> _abi.Mask | None:
    mask = _abi.Mask(chunk=check.integer("chunk", settings.chunk))
    left, right = _window(settings)
    if left is not None:
        mask.has_left, mask.left = 1, left
    if right is not None:
        mask.has_right, mask.right = 1, right
    mask.diagonal, mask.shift = _diagonal(settings.diagonal)
    if settings.mask is not None:
        visible = with_leading_ones("mask", booleans("mask", settings.mask), 4)
        mask.visible = borrow.input("mask", visible)
    if settings.block_mask is not None:
        mask.block_query, mask.block_key = _block_size(settings.block_size)
        blocks = with_leading_ones("block_mask", booleans("block_mask", settings.block_mask), 4)
        mask.blocks = borrow.input("block_mask", blocks)
    elif settings.block_size is not None:
        raise ValueError("block_size is given without a block_mask; give both or neither.")
    return mask if bytes(mask) != _NO_MASK else None


def _window(settings: Settings) -> tuple[int | None, int | None]:
    left, right = (None, None)
    if settings.window is not None:
        left, right = (
            None if side is None else check.integer("window", side)
            for side in check.sequence("window", settings.window, 2)
        )
    given = f"window is {(left, right)}"
    if check.flag("causal", settings.causal):
        right = 0 if right is None else min(right, 0)
        given += " and causal is True"
    if left is not None and right is not None and left + right < 0:
        raise ValueError(
            f"{given}, which hides every key. A side without a limit is None here, not -1: (None, "
            "None) is no window, (None, 0) is causal. A negative number moves that edge past the "
            "diagonal, so left + right must be at least 0."
        )
    return left, right


def _diagonal(diagonal: object) -> tuple[int, int]:
    """The kind of diagonal and its shift."""
    if not isinstance(diagonal, str):
        return _abi.Diagonal.SHIFTED, check.integer("diagonal", diagonal)
    if diagonal not in _DIAGONALS:
        raise ValueError(
            f"diagonal is {diagonal!r}; it must be 'bottom_right', 'top_left' or an integer."
        )
    return _DIAGONALS[diagonal], 0


def _block_size(block_size: object) -> tuple[int, int]:
    if block_size is None:
        raise ValueError("block_mask is given without block_size; add block_size=(queries, keys).")
    sizes = check.sequence("block_size", block_size, 2)
    queries, keys = (check.integer("block_size", size, 0, 2**31 - 1) for size in sizes)
    return queries, keys


def _scores(settings: Settings, borrow: Borrower, wide: np.dtype[Any]) -> _abi.Scores | None:
    scores = _abi.Scores(softcap=check.real("softcap", settings.softcap))
    if settings.scale is not None:
        scores.has_scale, scores.scale = 1, check.real("scale", settings.scale)
    if settings.alibi_slopes is not None:
        slopes = reals("alibi_slopes", settings.alibi_slopes, wide)
        scores.slopes = borrow.input("alibi_slopes", slopes)
    bias = bias_view(settings)
    if bias is not None:
        scores.bias = borrow.input("bias", bias)
    if settings.sinks is not None:
        sinks = reals("sinks", settings.sinks, wide)
        scores.sinks = borrow.input("sinks", sinks)
    return scores if bytes(scores) != _NO_SCORES else None


def require_seed(settings: Settings, verb: str) -> None:
    """Refuses dropout that nobody named: what `verb` says is about the mask of another call."""
    is_named = settings.seed is not None or settings.dropout_state is not None
    if is_named or check.real("dropout", settings.dropout) == 0:
        return
    raise ValueError(
        f"dropout is {settings.dropout} without a seed, so nothing says which weights attention "
        f"dropped, and {verb}. Pick a seed yourself, for example secrets.randbits(64), and give it "
        "to attention and here."
    )


def _dropout(settings: Settings, borrow: Borrower) -> _abi.Dropout | None:
    probability = check.real("dropout", settings.dropout)
    offset = check.integer("dropout_offset", settings.dropout_offset, 0, _LARGEST_SEED)
    dropout = _abi.Dropout(probability=probability, offset=offset)
    if settings.seed is not None:
        dropout.seed = check.integer("seed", settings.seed, 0, _LARGEST_SEED)
    if settings.dropout_state is not None:
        if settings.seed is not None or offset != 0:
            raise ValueError(
                "dropout_state is given beside seed or dropout_offset; it holds both, so give it "
                "alone."
            )
        dropout.state = borrow.numbers("dropout_state", settings.dropout_state, 2)
    elif settings.seed is None and probability != 0:
        # Not from Python's or NumPy's generators, which processes that fork have in common.
        dropout.seed = int.from_bytes(os.urandom(8), "little")
    base = check.sequence("dropout_base", settings.dropout_base, 4)
    dropout.base[:] = [check.integer("dropout_base", part) for part in base]
    return dropout if probability != 0 else None


def _scaling(settings: Settings, borrow: Borrower, wide: np.dtype[Any]) -> _abi.Scaling | None:
    factors = {
        "query": settings.query_factor,
        "key": settings.key_factor,
        "value": settings.value_factor,
        "output_gradient": settings.output_gradient_factor,
    }
    if all(factor is None for factor in factors.values()):
        return None
    scaling = _abi.Scaling()
    for member, factor in factors.items():
        if factor is not None:
            name = f"{member}_factor"
            array = with_leading_ones(name, reals(name, factor, wide), 2)
            setattr(scaling, member, borrow.input(name, array))
    return scaling
