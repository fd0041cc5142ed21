"""The options of attention, listed once: their types, their defaults and what they mean."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, fields
from typing import Any, Callable, Literal, Optional, TypedDict, TypeVar, Union

import numpy.typing as npt

from tilewise._tensor import Array

Window = tuple[Optional[int], Optional[int]]
Diagonal = Union[Literal["bottom_right", "top_left"], int]


class Options(TypedDict, total=False):
    """Keyword options that attention, its gradients, probabilities and plans have in common.

    Query i of a sequence, counted from its first row that counts, sees key j when all of these say
    so. Small arrays may be given as lists; masks and biases with fewer than four dimensions get
    leading ones, as in broadcasting. Slopes, sinks and factors are taken to float32; where query is
    float64, to float64 unless they are float32 arrays.

    Who sees whom:
      causal: hides the keys behind the diagonal; the same as a right window of 0. With a window
        both hold, so that (4, 4) becomes (4, 0) and (4, -1) stays.
      window: (left, right): keys with -left <= j - i - d <= right, d being the diagonal; None is
        no limit. Numbers may be negative: (None, -1) hides the diagonal itself. (flash_attn writes
        -1 for no limit.) One that hides every key, such as (-1, -1), is refused.
      diagonal: "bottom_right" (the last query sees the last key), "top_left" (the first query sees
        the first key), or d itself.
      chunk: keys of the same chunk of this length alone; 0 is none.
      mask: bool, broadcastable to (batch, heads, queries, keys); True is visible.
      block_mask: bool, broadcastable to (batch, heads, ceil(queries / block_size[0]), ceil(keys /
        block_size[1])); True is visible.
      block_size: the (queries, keys) of one block, multiples of 16.

    What a score is (scale, softcap, slopes, bias, in this order):
      scale: the factor of each product of query and key; None is 1 / sqrt(dim).
      softcap: c replaces a score s with c * tanh(s / c); 0 is none.
      alibi_slopes: (heads) or (batch, heads).
      bias: any float type, broadcastable to (batch, heads, queries, keys); -inf hides the key.
      sinks: (heads): one more logit in each denominator.

    Dropout of probabilities, the same on every machine:
      dropout: the probability, in [0, 1).
      seed, dropout_offset: integers of 64 bits, at least 0, that pick what is dropped. Without a
        seed each call of attention draws one from the operating system and keeps it to itself. To
        get the gradients or probabilities of a call, pick a seed yourself, for example
        secrets.randbits(64), and give it to both.
      dropout_state: a uint64 array of seed and offset, in place of the two, read as the call runs.
      dropout_base: added to the batch, head, query and key index: for a part of a larger call.

    Sequences of different lengths:
      query_offsets, key_offsets: (batch + 1) integers; sequence b owns rows offsets[b] to
        offsets[b + 1] of the packed array (tokens, heads, dim).
      query_lengths, key_lengths: (batch): how many rows of each sequence count.
      query_start, key_start: (batch): the first row that counts, for padding on the left.
      max_query_length, max_key_length: upper bounds of packed lengths; None and 0 read
        the offsets.

    Keys and values in a cache:
      page_table: (batch, columns) integers; key and value are (pages, page size, key heads, dim).
      cache_batch_index: (batch) integers: sequence b lies in this row of key and value.

    Factors of FP8 arrays: the value meant is factor * element:
      query_factor, key_factor, value_factor, output_gradient_factor: broadcastable to (batch, key
        heads).

    How it runs:
      deterministic: backward gives the same bits every time. (Forward always does.)
      threads: at most this many; 0 takes TILEWISE_NUM_THREADS, or all that the process may use.
      device: "cpu", "cuda" or "cuda:N" (see tilewise.devices). To a GPU the arrays are copied, and
        the results back, in each call; it has a workspace of its own there.
    """

    scale: float | None
    causal: bool
    window: Window | None
    diagonal: Diagonal
    chunk: int
    mask: npt.ArrayLike | None
    block_mask: npt.ArrayLike | None
    block_size: tuple[int, int] | None
    bias: npt.ArrayLike | None
    alibi_slopes: npt.ArrayLike | None
    softcap: float
    sinks: npt.ArrayLike | None
    dropout: float
    seed: int | None
    dropout_offset: int
    dropout_state: Array | None
    dropout_base: tuple[int, int, int, int]
    query_offsets: npt.ArrayLike | None
    key_offsets: npt.ArrayLike | None
    query_lengths: npt.ArrayLike | None
    key_lengths: npt.ArrayLike | None
    query_start: npt.ArrayLike | None
    key_start: npt.ArrayLike | None
    max_query_length: int | None
    max_key_length: int | None
    page_table: npt.ArrayLike | None
    cache_batch_index: npt.ArrayLike | None
    query_factor: npt.ArrayLike | None
    key_factor: npt.ArrayLike | None
    value_factor: npt.ArrayLike | None
    output_gradient_factor: npt.ArrayLike | None
    deterministic: bool
    threads: int
    device: str


@dataclass  # Not frozen: each call makes one, and frozen that takes five times as long.
class Settings:
    """Options with their defaults filled in; nobody changes them afterwards."""

    scale: float | None = None
    causal: bool = False
    window: Window | None = None
    diagonal: Diagonal = "bottom_right"
    chunk: int = 0
    mask: npt.ArrayLike | None = None
    block_mask: npt.ArrayLike | None = None
    block_size: tuple[int, int] | None = None
    bias: npt.ArrayLike | None = None
    alibi_slopes: npt.ArrayLike | None = None
    softcap: float = 0.0
    sinks: npt.ArrayLike | None = None
    dropout: float = 0.0
    seed: int | None = None
    dropout_offset: int = 0
    dropout_state: Array | None = None
    dropout_base: tuple[int, int, int, int] = (0, 0, 0, 0)
    query_offsets: npt.ArrayLike | None = None
    key_offsets: npt.ArrayLike | None = None
    query_lengths: npt.ArrayLike | None = None
    key_lengths: npt.ArrayLike | None = None
    query_start: npt.ArrayLike | None = None
    key_start: npt.ArrayLike | None = None
    max_query_length: int | None = None
    max_key_length: int | None = None
    page_table: npt.ArrayLike | None = None
    cache_batch_index: npt.ArrayLike | None = None
    query_factor: npt.ArrayLike | None = None
    key_factor: npt.ArrayLike | None = None
    value_factor: npt.ArrayLike | None = None
    output_gradient_factor: npt.ArrayLike | None = None
    deterministic: bool = False
    threads: int = 0
    device: str = "cpu"


_KNOWN = {field.name: field for field in fields(Settings)}
_Function = TypeVar("_Function", bound=Callable[..., Any])


def settings(options: Options) -> Settings:
    """Fills in the defaults; a name that is no option is refused with the nearest one that is."""
    for name in options:
        if name not in _KNOWN:
            close = difflib.get_close_matches(name, _KNOWN, n=1)
            hint = (
                f"; did you mean {close[0]}?" if close else "; help(tilewise.Options) lists them."
            )
            raise TypeError(f"{name} is no option of attention{hint}")
    return Settings(**options)


def with_options(function: _Function) -> _Function:
    """Shows the options by name in the function's signature, for help() and for editors."""
    signature = inspect.signature(function)
    named = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    named += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for name, field in _KNOWN.items()
    ]
    function.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return function
