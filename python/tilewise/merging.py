"""Attention over parts of the keys, merged into attention over all of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, TypeVar

from tilewise import _abi, _dtypes
from tilewise._borrower import Borrower
from tilewise._call import make_call
from tilewise._frameworks import Fill, Framework, framework_of
from tilewise._slots import Slot
from tilewise.options import Array, Numbers

_Array = TypeVar("_Array", bound=Array)


def merge(
    outputs: Sequence[_Array],
    lses: Sequence[_Array],
    sinks: Numbers | None = None,
    *,
    out: _Array | None = None,
    lse_out: _Array | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> tuple[_Array, _Array]:
    """Merges attention over parts of the keys into attention over all of them.

    outputs: one (batch, queries, heads, value dim) for each part, or packed (tokens, heads, value
    dim); lses: one (batch, heads, queries) for each, or packed (heads, tokens). sinks (heads) are
    logits of the whole, so give them here and not to the parts. Returns (output, lse) of the same
    shapes and types, in `out` and `lse_out` where these are given. device is "cpu", "cuda" or
    "cuda:N"; to a GPU the arrays are copied, and the results back.

    >>> import numpy, tilewise
    >>> query = numpy.ones((1, 1, 1, 4), numpy.float32)
    >>> key = numpy.ones((1, 6, 1, 4), numpy.float32)
    >>> value = numpy.arange(24, dtype=numpy.float32).reshape(1, 6, 1, 4)
    >>> parts = [
    ...     tilewise.attention(query, key[:, rows], value[:, rows], return_lse=True)
    ...     for rows in (slice(0, 2), slice(2, 6))
    ... ]
    >>> output, lse = tilewise.merge(*zip(*parts))
    >>> bool(numpy.allclose(output, tilewise.attention(query, key, value)))
    True
    """
    if len(outputs) == 0 or len(outputs) != len(lses):
        raise ValueError(
            f"outputs has {len(outputs)} parts and lses has {len(lses)}; they must have the same "
            "number, at least one."
        )
    framework = framework_of("outputs[0]", outputs[0])
    function = framework.merge or functools.partial(join, framework)
    found: tuple[_Array, _Array] = function(
        outputs, lses, sinks, out=out, lse_out=lse_out, threads=threads, device=device
    )
    return found


def join(
    framework: Framework,
    outputs: Any,
    lses: Any,
    sinks: Any,
    *,
    out: Any,
    lse_out: Any,
    threads: int,
    device: str = "cpu",
) -> tuple[Any, Any]:
    """merge for arrays that are plain numbers."""
    borrow = Borrower(framework)
    many = _abi.Tensor * len(outputs)
    parts = [borrow.floats(f"outputs[{i}]", part) for i, part in enumerate(outputs)]
    rows = [borrow.floats(f"lses[{i}]", part) for i, part in enumerate(lses)]
    output: Any = out if out is not None else _like(framework, outputs[0])
    lse: Any = lse_out if lse_out is not None else _like(framework, lses[0])
    request = _abi.MergeRequest(
        outputs=many(*parts),
        lses=many(*rows),
        parts=len(outputs),
        output=borrow.output("out", output),
        lse=borrow.output("lse_out", lse),
    )
    if sinks is not None:
        wide = _dtypes.wide_code(framework.code(lses[0]))
        request.sinks = borrow.option("sinks", sinks, Slot("", "", "factors"), wide)
    make_call("tw_merge", request, borrow, threads, device)
    return (
        output if out is not None else framework.finished(output, outputs[0]),
        lse if lse_out is not None else framework.finished(lse, lses[0]),
    )


def _like(framework: Framework, part: Any) -> Any:
    """A new array of the part's shape and type."""
    return framework.make(part, tuple(part.shape), framework.code(part), Fill.NOTHING)
