"""Attention over parts of the keys, merged into attention over all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tilewise import _abi, _device
from tilewise._call import taken
from tilewise._tensor import Array, Borrower, reals, require_array, wide_dtype


def merge(
    outputs: Sequence[Array],
    lses: Sequence[Array],
    sinks: npt.ArrayLike | None = None,
    *,
    out: Array | None = None,
    lse_out: Array | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> tuple[Array, Array]:
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
    outputs = [require_array(f"outputs[{i}]", part) for i, part in enumerate(outputs)]
    lses = [require_array(f"lses[{i}]", part) for i, part in enumerate(lses)]
    output = taken("out", out, np.empty(outputs[0].shape, outputs[0].dtype))
    lse = taken("lse_out", lse_out, np.empty(lses[0].shape, lses[0].dtype))
    borrow = Borrower()
    many = _abi.Tensor * len(outputs)
    request = _abi.MergeRequest(
        outputs=many(*(borrow.input(f"outputs[{i}]", part) for i, part in enumerate(outputs))),
        lses=many(*(borrow.input(f"lses[{i}]", part) for i, part in enumerate(lses))),
        parts=len(outputs),
        output=borrow.output("out", output),
        lse=borrow.output("lse_out", lse),
    )
    if sinks is not None:
        wide = wide_dtype(lses[0].dtype)
        request.sinks = borrow.input("sinks", reals("sinks", sinks, wide))
    _device.call("tw_merge", request, threads, device)
    return output, lse
