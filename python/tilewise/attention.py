"""Attention, its gradients and its probabilities."""

from __future__ import annotations

from ctypes import pointer
from typing import TYPE_CHECKING, Literal, NamedTuple, Union, overload

import numpy as np
import numpy.typing as npt

from tilewise import _abi, _request
from tilewise import _arguments as check
from tilewise._call import Call, Operands, taken
from tilewise._tensor import Array, float_dtype, require_array, wide_dtype, with_leading_ones
from tilewise.options import Options, settings, with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Gradients(NamedTuple):
    """What attention_backward returns; None for what was not asked for or was not there."""

    query: Array | None = None
    key: Array | None = None
    value: Array | None = None
    bias: Array | None = None
    slopes: Array | None = None
    sinks: Array | None = None


_Either = Union[Array, "tuple[Array, Array]"]


@overload
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    out: Array | None = ...,
    output_dtype: npt.DTypeLike | None = ...,
    return_lse: Literal[False] = ...,
    workspace: Array | None = ...,
    **options: Unpack[Options],
) -> Array: ...


@overload
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    out: Array | None = ...,
    output_dtype: npt.DTypeLike | None = ...,
    return_lse: Literal[True],
    workspace: Array | None = ...,
    **options: Unpack[Options],
) -> tuple[Array, Array]: ...


@overload
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    out: Array | None = ...,
    output_dtype: npt.DTypeLike | None = ...,
    return_lse: bool = ...,
    workspace: Array | None = ...,
    **options: Unpack[Options],
) -> _Either: ...


@with_options
def attention(
    query: Array,
    key: Array,
    value: Array,
    *,
    out: Array | None = None,
    output_dtype: npt.DTypeLike | None = None,
    return_lse: bool = False,
    workspace: Array | None = None,
    **options: Unpack[Options],
) -> _Either:
    """Exact attention: softmax(scale * query key^T) value.

    query (batch, queries, heads, dim), key (batch, keys, key heads, dim) and value (batch, keys,
    key heads, value dim) share one float type; heads is a multiple of key heads. With
    query_offsets or key_offsets that side is packed: (tokens, heads, dim). Strided views are read
    where they lie; one whose last dimension is not contiguous is copied first.

    Returns the output (batch, queries, heads, value dim), packed (tokens, heads, value dim), and
    with return_lse also the lse (batch, heads, queries), packed (heads, tokens): the natural
    logarithm of each softmax's denominator. A query that sees no key gets 0 and -inf, and so do
    rows that no sequence owns, unless `out` is given: there they are left alone.

    out: an array to write the output into, instead of a new one.
    output_dtype: the type of a new output; by default query's, and bfloat16 for FP8.
    workspace: scratch of at least workspace_bytes(...) bytes, to use again from call to call.
    options: see tilewise.Options.

    >>> import numpy, tilewise
    >>> query = key = numpy.zeros((1, 3, 2, 4), numpy.float32)
    >>> value = numpy.arange(24, dtype=numpy.float32).reshape(1, 3, 2, 4)
    >>> tilewise.attention(query, key, value, causal=True)[0, :, 0, 0].tolist()
    [0.0, 4.0, 8.0]
    """
    operands = Operands(*map(require_array, ("query", "key", "value"), (query, key, value)))
    call = Call(settings(options), operands)
    if out is not None and output_dtype is not None:
        raise ValueError("out and output_dtype are both given; out already has a type.")
    dtype = None if output_dtype is None else float_dtype("output_dtype", output_dtype)
    output = (
        require_array("out", out) if out is not None else call.result(call.output_shape(), dtype)
    )
    call.request.output = call.borrow.output("out", output)
    if not check.flag("return_lse", return_lse):
        call.run("tw_forward", _abi.Operation.FORWARD, workspace)
        return output
    lse = call.result_lse()
    call.request.lse = call.borrow.output("lse", lse)
    call.run("tw_forward", _abi.Operation.FORWARD, workspace)
    return output, lse


@with_options
def attention_backward(
    output_gradient: Array,
    query: Array,
    key: Array,
    value: Array,
    output: Array,
    lse: Array,
    *,
    lse_gradient: Array | None = None,
    query_gradient: bool = True,
    key_gradient: bool = True,
    value_gradient: bool = True,
    bias_gradient: bool = True,
    slopes_gradient: bool = True,
    sinks_gradient: bool = True,
    out: Gradients | None = None,
    workspace: Array | None = None,
    **options: Unpack[Options],
) -> Gradients:
    """The gradients of attention, from what attention read and returned and with its options.

    output_gradient, shaped like output, is the gradient that arrives there; lse_gradient, shaped
    like lse, the one that arrives at lse, if any. Each gradient has the shape and type of what it
    is the gradient of (bfloat16 for FP8; slopes and sinks: the type that they are taken to); those
    of bias, slopes and sinks exist when these are given, and are summed over what was broadcast.
    Switch off what you do not need.

    out: arrays to write gradients into instead of new ones, in the fields of Gradients.
    options: the ones that attention was called with; see tilewise.Options.

    >>> import numpy, tilewise
    >>> query = key = value = numpy.ones((1, 3, 1, 4), numpy.float32)
    >>> output, lse = tilewise.attention(query, key, value, return_lse=True)
    >>> gradients = tilewise.attention_backward(output, query, key, value, output, lse)
    >>> gradients.value.shape, gradients.bias
    ((1, 3, 1, 4), None)
    """
    operands = Operands(*map(require_array, ("query", "key", "value"), (query, key, value)))
    chosen = settings(options)
    _request.require_seed(chosen, "its gradients need the same ones")
    call = Call(chosen, operands)
    call.request.output = call.borrow.input("output", require_array("output", output))
    call.request.lse = call.borrow.input("lse", require_array("lse", lse))
    arriving = require_array("output_gradient", output_gradient)
    gradients = _abi.Gradients(output=call.borrow.input("output_gradient", arriving))
    if lse_gradient is not None:
        arriving = require_array("lse_gradient", lse_gradient)
        gradients.lse = call.borrow.input("lse_gradient", arriving)
    flags = {
        "query": query_gradient,
        "key": key_gradient,
        "value": value_gradient,
        "bias": bias_gradient,
        "slopes": slopes_gradient,
        "sinks": sinks_gradient,
    }
    wanted = {name for name, flag in flags.items() if check.flag(f"{name}_gradient", flag)}
    results = _gradient_results(call, wanted, out)
    for name, array in results.items():
        view = with_leading_ones(name, array, 4) if name == "bias" else array
        setattr(gradients, name, call.borrow.output(f"{name} gradient", view))
    call.request.gradients = pointer(gradients)
    call.run("tw_backward", _abi.Operation.BACKWARD, workspace)
    return Gradients(**results)


@with_options
def attention_probabilities(
    query: Array,
    key: Array,
    *,
    out: Array | None = None,
    workspace: Array | None = None,
    **options: Unpack[Options],
) -> Array:
    """The softmax's numerators: exp(score - the largest score of its row), for looking at weights.

    Returns (batch, heads, queries, keys), float64 for float64 inputs and float32 otherwise: 0 where
    a key is hidden, negative where dropout drops it. Packed sequences each start at 0, 0 of their
    own matrix, which is as large as the longest. Divide the absolute values by their row's sum
    (sinks add to it) to get probabilities. The memory is quadratic: this is not a way to compute
    attention.

    >>> import numpy, tilewise
    >>> query = key = numpy.zeros((1, 2, 1, 4), numpy.float32)
    >>> tilewise.attention_probabilities(query, key, causal=True)[0, 0].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    operands = Operands(require_array("query", query), require_array("key", key), None)
    chosen = settings(options)
    _request.require_seed(chosen, "its probabilities say which ones")
    call = Call(chosen, operands)
    new = np.zeros(call.extent() if out is None else 0, wide_dtype(operands.query.dtype))
    result = taken("out", out, new)
    call.request.output = call.borrow.output("out", result)
    call.run("tw_probabilities", _abi.Operation.PROBABILITIES, workspace)
    return result


def _gradient_results(call: Call, wanted: set[str], out: Gradients | None) -> dict[str, Array]:
    """The arrays that the wanted gradients go to, the caller's where there are some."""
    if out is None:
        out = Gradients()
    if not isinstance(out, Gradients):
        raise TypeError(
            f"out is a {type(out).__name__}; pass tilewise.Gradients, for example "
            "tilewise.Gradients(query=an_array)."
        )
    blanks = call.gradient_blanks()
    results: dict[str, Array] = {}
    for name, blank in blanks.items():
        given = getattr(out, name)
        if given is not None:
            results[name] = require_array(f"out.{name}", given)
        elif name in wanted:
            results[name] = call.result(blank.shape, blank.dtype)
    for name in Gradients._fields:
        if getattr(out, name) is not None and name not in blanks:
            raise ValueError(f"out.{name} is given, but the call has no {name} to differentiate.")
    if not results:
        switches = ", ".join(f"{name}_gradient" for name in blanks)
        raise ValueError(
            f"Every gradient is switched off; leave at least one of {switches} on, or give an "
            "array in out."
        )
    return results
