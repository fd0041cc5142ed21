"""Rotary embeddings, and caches of keys and values that grow."""

from __future__ import annotations

import functools
from ctypes import pointer
from typing import Any, TypeVar

from tilewise import _abi, _dtypes, _forms, _quick
from tilewise import _arguments as check
from tilewise._borrower import Borrower
from tilewise._call import make_call
from tilewise._frameworks import Fill, Framework, framework_of
from tilewise.options import Array, Numbers

_Array = TypeVar("_Array", bound=Array)


def rotary(
    x: _Array,
    cosine: _Array,
    sine: _Array,
    interleaved: bool = False,
    positions: Numbers | None = None,
    inverse: bool = False,
    *,
    fixed: bool = False,
    offsets: Numbers | None = None,
    lengths: Numbers | None = None,
    start: Numbers | None = None,
    max_length: int | None = None,
    out: _Array | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> _Array:
    """Rotates the first 2 * columns elements of each head by its row's position.

    x is (batch, length, heads, dim), or with `offsets` packed (tokens, heads, dim); cosine and sine
    are (positions, columns): row p belongs to position p. Row t of sequence b has the position
    positions[b] + t, or with fixed=True positions[b]; without positions they count from 0. The
    pairs are (c, c + columns), or (2c, 2c + 1) with interleaved=True. inverse=True turns back,
    which is also the gradient. lengths, start and max_length are as in tilewise.Options; rows that
    no sequence owns come back as 0, or as they were in `out`. threads and device are as in
    tilewise.Options, too.

    >>> import numpy, tilewise
    >>> angle = numpy.arange(3)[:, None] * numpy.ones(2)
    >>> cosine, sine = numpy.cos(angle), numpy.sin(angle)
    >>> x = numpy.ones((1, 3, 1, 4), numpy.float64)
    >>> turned = tilewise.rotary(x, cosine, sine)
    >>> bool(numpy.allclose(tilewise.rotary(turned, cosine, sine, inverse=True), x))
    True
    """
    framework = framework_of("x", x)
    given = {
        "interleaved": interleaved,
        "positions": positions,
        "inverse": inverse,
        "fixed": fixed,
        "offsets": offsets,
        "lengths": lengths,
        "start": start,
        "max_length": max_length,
        "out": out,
        "threads": threads,
        "device": device,
    }
    function = framework.rotary or functools.partial(rotate, framework)
    return function(x, cosine, sine, **given)  # type: ignore[no-any-return]


def rotate(
    framework: Framework,
    x: Any,
    cosine: Any,
    sine: Any,
    *,
    interleaved: Any,
    positions: Any,
    inverse: Any,
    fixed: Any,
    offsets: Any,
    lengths: Any,
    start: Any,
    max_length: Any,
    out: Any,
    threads: int,
    device: str = "cpu",
) -> Any:
    """rotary for arrays that are plain numbers."""
    if _quick.extension is not None and device == "cpu":
        switches = (interleaved, inverse, fixed)
        flags = _flags(framework, threads, ("interleaved", "inverse", "fixed"), switches)
        tables = {
            "rotary.positions": positions,
            "query_offsets": offsets,
            "query_lengths": lengths,
            "query_start": start,
        }
        given = (_form(max_query_length=max_length), flags, x, cosine, sine, out)
        found = _quick.extension.rotary(*given, _pairs(tables))
        if found is not NotImplemented:
            return found
    borrow = Borrower(framework)
    request = _abi.RotaryRequest(
        input=borrow.floats("x", x),
        rotation=pointer(_rotation(borrow, cosine, sine, interleaved)),
        fixed=check.flag("fixed", fixed),
        inverse=check.flag("inverse", inverse),
    )
    tables = {"offsets": offsets, "lengths": lengths, "start": start}
    owned = _sequences(borrow, tables, ("max_length", max_length))
    if owned is not None:
        request.sequences = pointer(owned)
    if positions is not None:
        request.positions = borrow.table("positions", positions)
    result: Any = out if out is not None else _like(framework, x, owned is not None)
    request.output = borrow.output("out", result)
    make_call("tw_rotary", request, borrow, threads, device)
    return framework.finished(result, x) if out is None else result


def _flags(
    framework: Framework, threads: Any, names: tuple[str, ...], switches: tuple[Any, ...]
) -> int:
    """The switches as the extension's flags, and above them the threads."""
    limit = check.integer("threads", threads, 0, 2**31 - 1) or framework.threads()
    flags = limit << 8
    for bit, (name, switch) in enumerate(zip(names, switches)):
        flags |= check.flag(name, switch) << bit
    return flags


def _form(**longest: Any) -> bytes:
    given = {name: bound for name, bound in longest.items() if bound is not None}
    return _forms.ask(given).form


def _pairs(tables: dict[str, Any]) -> tuple[Any, ...] | None:
    return _quick.pairs({name: table for name, table in tables.items() if table is not None})


def _like(framework: Framework, array: Any, has_strangers: bool) -> Any:
    """A new array for results; rows that no sequence owns are 0."""
    code = _dtypes.default_code(framework.code(array))
    if not has_strangers and code == framework.code(array):
        return framework.empty_like(array)
    fill = Fill.ZERO if has_strangers else Fill.NOTHING
    return framework.make(array, tuple(array.shape), code, fill)


def _sequences(
    borrow: Borrower, tables: dict[str, Any], longest: tuple[str, int | None]
) -> _abi.Sequences | None:
    """One side's sequences; `tables` has offsets, lengths and start, in this order."""
    name, bound = longest
    if bound is None and all(table is None for table in tables.values()):
        return None
    result = _abi.Sequences(max_length=0 if bound is None else check.integer(name, bound, low=0))
    for member, (table_name, table) in zip(("offsets", "used", "start"), tables.items()):
        if table is not None:
            setattr(result, member, borrow.table(table_name, table))
    return result


def _cache(borrow: Borrower, page_table: Any, batch_index: Any) -> _abi.Cache | None:
    if page_table is None and batch_index is None:
        return None
    result = _abi.Cache()
    if page_table is not None:
        result.page_table = borrow.table("page_table", page_table)
    if batch_index is not None:
        result.batch_index = borrow.table("cache_batch_index", batch_index)
    return result


def append(
    key: _Array,
    value: _Array,
    key_cache: _Array,
    value_cache: _Array,
    lengths: Numbers,
    *,
    key_offsets: Numbers | None = None,
    key_lengths: Numbers | None = None,
    key_start: Numbers | None = None,
    max_key_length: int | None = None,
    page_table: Numbers | None = None,
    cache_batch_index: Numbers | None = None,
    cosine: _Array | None = None,
    sine: _Array | None = None,
    interleaved: bool = False,
    query: _Array | None = None,
    query_offsets: Numbers | None = None,
    query_lengths: Numbers | None = None,
    query_start: Numbers | None = None,
    max_query_length: int | None = None,
    fixed_query: bool = False,
    out: _Array | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> _Array | None:
    """Writes new keys and values into caches, in place, behind what is there; rotates if asked.

    key and value are the new rows: (batch, new, key heads, dim), or with key_offsets packed.
    key_cache and value_cache are (rows, capacity, key heads, dim), row b for sequence b or row
    cache_batch_index[b]; with page_table (batch, columns) they are (pages, page size, key heads,
    dim). lengths (batch) says how many rows each sequence has before the append; attention over
    the caches then takes lengths + new as its key_lengths.

    With cosine and sine (see tilewise.rotary) new key t is rotated at position lengths[b] + t. So
    is `query`, when given; with fixed_query=True all of it at lengths[b]. Returns the rotated query
    (in `out` when given), or None without a query. threads and device are as in tilewise.Options:
    with device="cuda" a call on NumPy's arrays copies whole caches to the GPU and back.

    >>> import numpy, tilewise
    >>> key_cache, value_cache = numpy.zeros((2, 1, 8, 1, 4), numpy.float32)
    >>> new = numpy.ones((1, 2, 1, 4), numpy.float32)
    >>> tilewise.append(new, new, key_cache, value_cache, lengths=[3])
    >>> key_cache[0, :, 0, 0].tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    framework = framework_of("key", key)
    given = {
        "key_offsets": key_offsets,
        "key_lengths": key_lengths,
        "key_start": key_start,
        "max_key_length": max_key_length,
        "page_table": page_table,
        "cache_batch_index": cache_batch_index,
        "cosine": cosine,
        "sine": sine,
        "interleaved": interleaved,
        "query": query,
        "query_offsets": query_offsets,
        "query_lengths": query_lengths,
        "query_start": query_start,
        "max_query_length": max_query_length,
        "fixed_query": fixed_query,
        "out": out,
        "threads": threads,
        "device": device,
    }
    function = framework.append or functools.partial(extend, framework)
    arrays = (key, value, key_cache, value_cache, lengths)
    return function(*arrays, **given)  # type: ignore[no-any-return]


def extend(
    framework: Framework,
    key: Any,
    value: Any,
    key_cache: Any,
    value_cache: Any,
    lengths: Any,
    *,
    key_offsets: Any,
    key_lengths: Any,
    key_start: Any,
    max_key_length: Any,
    page_table: Any,
    cache_batch_index: Any,
    cosine: Any,
    sine: Any,
    interleaved: Any,
    query: Any,
    query_offsets: Any,
    query_lengths: Any,
    query_start: Any,
    max_query_length: Any,
    fixed_query: Any,
    out: Any,
    threads: int,
    device: str = "cpu",
) -> Any:
    """append for arrays that are plain numbers."""
    is_rotated = cosine is not None and sine is not None
    is_plain = cosine is None and sine is None and query is None
    is_right = (is_rotated or is_plain) and not (query is None and out is not None)
    if _quick.extension is not None and is_right and device == "cpu":
        names = ("interleaved", "key", "fixed_query")
        flags = _flags(framework, threads, names, (interleaved, False, fixed_query))
        tables = {
            "key_offsets": key_offsets,
            "key_lengths": key_lengths,
            "key_start": key_start,
            "page_table": page_table,
            "cache_batch_index": cache_batch_index,
            "query_offsets": query_offsets,
            "query_lengths": query_lengths,
            "query_start": query_start,
        }
        form = _form(max_key_length=max_key_length, max_query_length=max_query_length)
        given = (form, flags, key, value, key_cache, value_cache, lengths)
        rotation = (cosine, sine) if is_rotated else None
        found = _quick.extension.append(*given, rotation, query, out, _pairs(tables))
        if found is not NotImplemented:
            return found
    borrow = Borrower(framework)
    request = _abi.AppendRequest(
        key=borrow.floats("key", key),
        value=borrow.floats("value", value),
        key_cache=borrow.output("key_cache", key_cache),
        value_cache=borrow.output("value_cache", value_cache),
        lengths=borrow.table("lengths", lengths),
        fixed_query=check.flag("fixed_query", fixed_query),
    )
    parts: dict[str, Any] = {
        "keys": _sequences(
            borrow,
            {"key_offsets": key_offsets, "key_lengths": key_lengths, "key_start": key_start},
            ("max_key_length", max_key_length),
        ),
        "queries": _sequences(
            borrow,
            {
                "query_offsets": query_offsets,
                "query_lengths": query_lengths,
                "query_start": query_start,
            },
            ("max_query_length", max_query_length),
        ),
        "cache": _cache(borrow, page_table, cache_batch_index),
    }
    if cosine is not None or sine is not None:
        parts["rotation"] = _rotation(borrow, cosine, sine, interleaved)
    for name, part in parts.items():
        if part is not None:
            setattr(request, name, pointer(part))
    rotated = _rotated_query(borrow, request, query, out)
    make_call("tw_append", request, borrow, threads, device)
    return rotated


def _rotated_query(borrow: Borrower, request: _abi.AppendRequest, query: Any, out: Any) -> Any:
    """Adds the query and the array for its rotation to the request."""
    if query is None:
        if out is not None:
            raise ValueError("out takes the rotated query, but there is no query; give both.")
        return None
    if not request.rotation:
        raise ValueError("query is given without cosine and sine; append only rotates a query.")
    request.query = borrow.floats("query", query)
    rotated = out
    if rotated is None:
        rotated = _like(borrow.framework, query, bool(request.queries))
    request.rotated_query = borrow.output("out", rotated)
    return rotated


def _rotation(borrow: Borrower, cosine: Any, sine: Any, interleaved: bool) -> _abi.Rotation:
    if cosine is None or sine is None:
        raise ValueError("Of cosine and sine only one is given; a rotation takes both.")
    return _abi.Rotation(
        cosine=borrow.floats("cosine", cosine),
        sine=borrow.floats("sine", sine),
        interleaved=check.flag("interleaved", interleaved),
    )
