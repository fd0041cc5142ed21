"""The options of attention, listed once: their types, their defaults and what they mean."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Callable, Literal, Optional, Protocol, TypedDict, TypeVar, Union


class Array(Protocol):
    """An array of any framework: of NumPy, torch, JAX or CuPy."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


# An array, or a list of numbers that stands for one.
Numbers = Union[Array, Sequence[Any], float]
Window = tuple[Optional[int], Optional[int]]
Diagonal = Union[Literal["bottom_right", "top_left"], int]


class Options(TypedDict, total=False):
    """Keyword options that attention, its gradients, probabilities and plans have in common.

    Query i of a sequence, counted from its first row that counts, sees key j when all of these say
    so. All arrays are of query's framework and lie on its device; small ones may be given as lists.
    Masks and biases with fewer than four dimensions get leading ones, as in broadcasting. Slopes,
    sinks and factors are taken to float32; where query is float64, to float64 unless they are
    float32 arrays.

    Who sees whom:
      causal: hides the keys behind the diagonal; the same as a right window of 0. With a window
        both hold, so that (4, 4) becomes (4, 0) and (4, -1) stays.
      window: (left, right): keys with -left <= j - i - d <= right, d being the diagonal; None is
        no limit. Numbers may be negative: (None, -1) hides the diagonal itself. (flash_attn writes
        -1 for no limit.) One that hides every key, such as (-1, -1), is refused.
      diagonal: "bottom_right" (the last query sees the last key), "top_left" (the first query sees
        the first key), or d itself.
      chunk: keys with j // chunk == (i + d) // chunk; 0 is no limit.
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
        seed each call of attention draws one from the operating system and does not return it; for
        torch's tensors it draws one from torch's generator, and autograd uses the same. To get the
        gradients or probabilities of a call by attention_backward and attention_probabilities,
        pick a seed yourself, for example secrets.randbits(64), and give it to both.
      dropout_state: a uint64 array (torch: an int64 tensor) of seed and offset, in place of the
        two, read as the call runs.
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
      threads: at most this many; 0 takes torch.get_num_threads() for torch's tensors, otherwise
        TILEWISE_NUM_THREADS, or all that the process may use.
      device: "cpu", "cuda" or "cuda:N" (see tilewise.devices). To a GPU the arrays are copied, and
        the results back, in each call; the call has a workspace of its own there.
    """

    scale: float | None
    causal: bool
    window: Window | None
    diagonal: Diagonal
    chunk: int
    mask: Numbers | None
    block_mask: Numbers | None
    block_size: tuple[int, int] | None
    bias: Numbers | None
    alibi_slopes: Numbers | None
    softcap: float
    sinks: Numbers | None
    dropout: float
    seed: int | None
    dropout_offset: int
    dropout_state: Array | None
    dropout_base: tuple[int, int, int, int]
    query_offsets: Numbers | None
    key_offsets: Numbers | None
    query_lengths: Numbers | None
    key_lengths: Numbers | None
    query_start: Numbers | None
    key_start: Numbers | None
    max_query_length: int | None
    max_key_length: int | None
    page_table: Numbers | None
    cache_batch_index: Numbers | None
    query_factor: Numbers | None
    key_factor: Numbers | None
    value_factor: Numbers | None
    output_gradient_factor: Numbers | None
    deterministic: bool
    threads: int
    device: str


# The defaults that are not None.
DEFAULTS: dict[str, Any] = {
    "causal": False,
    "diagonal": "bottom_right",
    "chunk": 0,
    "softcap": 0.0,
    "dropout": 0.0,
    "dropout_offset": 0,
    "dropout_base": (0, 0, 0, 0),
    "deterministic": False,
    "threads": 0,
    "device": "cpu",
}
_Function = TypeVar("_Function", bound=Callable[..., Any])


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
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=DEFAULTS.get(name),
            annotation=getattr(annotation, "__forward_arg__", annotation),
        )
        for name, annotation in Options.__annotations__.items()
    ]
    function.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return function
