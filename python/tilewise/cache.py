"""Rotary embeddings, and caches of keys and values that grow."""

from __future__ import annotations

from ctypes import pointer
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewise import _abi, _device, _request
from tilewise import _arguments as check
from tilewise._call import taken
from tilewise._tensor import Array, Borrower, default_dtype, integers, require_array


def rotary(
    x: Array,
    cosine: Array,
    sine: Array,
    interleaved: bool = False,
    positions: npt.ArrayLike | None = None,
    inverse: bool = False,
    *,
    fixed: bool = False,
    offsets: npt.ArrayLike | None = None,
    lengths: npt.ArrayLike | None = None,
    start: npt.ArrayLike | None = None,
    max_length: int | None = None,
    out: Array | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> Array:
    """Rotates the first 2 * columns elements of each head by its row's position.

    x is (batch, length, heads, dim), or with `offsets` packed (tokens, heads, dim); cosine and sine
    are (positions, columns): row p belongs to position p. Row t of sequence b has the position
    positions[b] + t, or with fixed=True positions[b]; without positions they count from 0. The
    pairs are (c, c + columns), or (2c, 2c + 1) with interleaved=True. inverse=True turns back,
    which is also the gradient. lengths, start and max_length are as in tilewise.Options; rows that
    no sequence owns come back as 0, or as they were in `out`. threads and device are as there, too.

    >>> import numpy, tilewise
    >>> angle = numpy.arange(3)[:, None] * numpy.ones(2)
    >>> cosine, sine = numpy.cos(angle), numpy.sin(angle)
    >>> x = numpy.ones((1, 3, 1, 4), numpy.float64)
    >>> turned = tilewise.rotary(x, cosine, sine)
    >>> bool(numpy.allclose(tilewise.rotary(turned, cosine, sine, inverse=True), x))
    True
    """
    require_array("x", x)
    borrow = Borrower()
    tables = {"offsets": offsets, "lengths": lengths, "start": start}
    owned = _request.sequences(borrow, tables, ("max_length", max_length))
    make = np.empty if owned is None else np.zeros
    result = taken("out", out, make(x.shape, default_dtype(x.dtype)))
    request = _abi.RotaryRequest(
        input=borrow.input("x", x),
        output=borrow.output("out", result),
        rotation=pointer(_rotation(borrow, cosine, sine, interleaved)),
        fixed=check.flag("fixed", fixed),
        inverse=check.flag("inverse", inverse),
    )
    if owned is not None:
        request.sequences = pointer(owned)
    if positions is not None:
        request.positions = borrow.input("positions", integers("positions", positions))
    _device.call("tw_rotary", request, threads, device)
    return result


def append(
    key: Array,
    value: Array,
    key_cache: Array,
    value_cache: Array,
    lengths: npt.ArrayLike,
    *,
    key_offsets: npt.ArrayLike | None = None,
    key_lengths: npt.ArrayLike | None = None,
    key_start: npt.ArrayLike | None = None,
    max_key_length: int | None = None,
    page_table: npt.ArrayLike | None = None,
    cache_batch_index: npt.ArrayLike | None = None,
    cosine: Array | None = None,
    sine: Array | None = None,
    interleaved: bool = False,
    query: Array | None = None,
    query_offsets: npt.ArrayLike | None = None,
    query_lengths: npt.ArrayLike | None = None,
    query_start: npt.ArrayLike | None = None,
    max_query_length: int | None = None,
    fixed_query: bool = False,
    out: Array | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> Array | None:
    """Writes new keys and values into caches, in place, behind what is there; rotates if asked.

    key and value are the new rows: (batch, new, key heads, dim), or with key_offsets packed.
    key_cache and value_cache are (rows, capacity, key heads, dim), row b for sequence b or row
    cache_batch_index[b]; with page_table (batch, columns) they are (pages, page size, key heads,
    dim). lengths (batch) says how many rows each sequence has before the append; attention over
    the caches then takes lengths + new as its key_lengths.

    With cosine and sine (see tilewise.rotary) new key t is rotated at position lengths[b] + t. So
    is `query`, when given; with fixed_query=True all of it at lengths[b]. Returns the rotated query
    (in `out` when given), or None without a query. threads and device are as in tilewise.Options;
    to a GPU the caches are copied whole, and back.

    >>> import numpy, tilewise
    >>> key_cache, value_cache = numpy.zeros((2, 1, 8, 1, 4), numpy.float32)
    >>> new = numpy.ones((1, 2, 1, 4), numpy.float32)
    >>> tilewise.append(new, new, key_cache, value_cache, lengths=[3])
    >>> key_cache[0, :, 0, 0].tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    borrow = Borrower()
    request = _abi.AppendRequest(
        key=borrow.input("key", require_array("key", key)),
        value=borrow.input("value", require_array("value", value)),
        key_cache=borrow.output("key_cache", require_array("key_cache", key_cache)),
        value_cache=borrow.output("value_cache", require_array("value_cache", value_cache)),
        lengths=borrow.input("lengths", integers("lengths", lengths)),
        fixed_query=check.flag("fixed_query", fixed_query),
    )
    parts: dict[str, Any] = {
        "keys": _request.sequences(
            borrow,
            {"key_offsets": key_offsets, "key_lengths": key_lengths, "key_start": key_start},
            ("max_key_length", max_key_length),
        ),
        "queries": _request.sequences(
            borrow,
            {
                "query_offsets": query_offsets,
                "query_lengths": query_lengths,
                "query_start": query_start,
            },
            ("max_query_length", max_query_length),
        ),
        "cache": _request.cache(
            borrow, {"page_table": page_table, "cache_batch_index": cache_batch_index}
        ),
    }
    if cosine is not None or sine is not None:
        parts["rotation"] = _rotation(borrow, cosine, sine, interleaved)
    for name, part in parts.items():
        if part is not None:
            setattr(request, name, pointer(part))
    rotated = _rotated_query(borrow, request, query, out)
    _device.call("tw_append", request, threads, device)
    return rotated


def _rotated_query(
    borrow: Borrower, request: _abi.AppendRequest, query: Array | None, out: Array | None
) -> Array | None:
    """Adds the query and the array for its rotation to the request."""
    if query is None:
        if out is not None:
            raise ValueError("out takes the rotated query, but there is no query; give both.")
        return None
    if not request.rotation:
        raise ValueError("query is given without cosine and sine; append only rotates a query.")
    require_array("query", query)
    make = np.zeros if request.queries else np.empty
    rotated = taken("out", out, make(query.shape, default_dtype(query.dtype)))
    request.query = borrow.input("query", query)
    request.rotated_query = borrow.output("out", rotated)
    return rotated


def _rotation(
    borrow: Borrower, cosine: Array | None, sine: Array | None, interleaved: bool
) -> _abi.Rotation:
    if cosine is None or sine is None:
        raise ValueError("Of cosine and sine only one is given; a rotation takes both.")
    return _abi.Rotation(
        cosine=borrow.input("cosine", require_array("cosine", cosine)),
        sine=borrow.input("sine", require_array("sine", sine)),
        interleaved=check.flag("interleaved", interleaved),
    )
