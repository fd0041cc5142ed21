"""Attention, its gradients and its probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from tilewise import _arguments as check
from tilewise import _forms
from tilewise._attend import (
    Gradients,
    Places,
    Read,
    attend,
    differentiate_anyhow,
    wanted_gradients,
    weigh,
)
from tilewise._call import Operands, require_seed
from tilewise._frameworks import Framework, framework_of, require_floats
from tilewise.options import Array, Options, with_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

_Array = TypeVar("_Array", bound=Array)

__all__ = ["Gradients", "attention", "attention_backward", "attention_probabilities"]


@overload
def attention(
    query: _Array,
    key: _Array,
    value: _Array,
    *,
    out: _Array | None = ...,
    output_dtype: Any = ...,
    return_lse: Literal[False] = ...,
    workspace: _Array | None = ...,
    **options: Unpack[Options],
) -> _Array: ...


@overload
def attention(
    query: _Array,
    key: _Array,
    value: _Array,
    *,
    out: _Array | None = ...,
    output_dtype: Any = ...,
    return_lse: Literal[True],
    workspace: _Array | None = ...,
    **options: Unpack[Options],
) -> tuple[_Array, _Array]: ...


@overload
def attention(
    query: _Array,
    key: _Array,
    value: _Array,
    *,
    out: _Array | None = ...,
    output_dtype: Any = ...,
    return_lse: bool = ...,
    workspace: _Array | None = ...,
    **options: Unpack[Options],
) -> _Array | tuple[_Array, _Array]: ...


@with_options
def attention(
    query: _Array,
    key: _Array,
    value: _Array,
    *,
    out: _Array | None = None,
    output_dtype: Any = None,
    return_lse: bool = False,
    workspace: _Array | None = None,
    **options: Unpack[Options],
) -> _Array | tuple[_Array, _Array]:
    """Exact attention: softmax(scale * query key^T) value.

    query (batch, queries, heads, dim), key (batch, keys, key heads, dim) and value (batch, keys,
    key heads, value dim) share one float type; heads is a multiple of key heads. With
    query_offsets or key_offsets that side is packed: (tokens, heads, dim). Strided views are read
    where they lie; one whose last dimension is not contiguous is copied first. All arrays are of
    one framework on one device, and so are the results; on torch's tensors query, key, value,
    bias, alibi_slopes and sinks have gradients.

    Returns the output (batch, queries, heads, value dim), packed (tokens, heads, value dim), and
    with return_lse also the lse (batch, heads, queries), packed (heads, tokens): the natural
    logarithm of each softmax's denominator. A query that sees no key has output 0, and its lse is
    -inf or, with sinks, its head's sink. Rows that no sequence owns get output 0 and lse -inf; in
    `out` they keep what they were.

    out: an array to write the output into, instead of a new one.
    output_dtype: the type of a new output; by default query's, and bfloat16 for FP8.
    workspace: scratch of at least workspace_bytes(...) bytes, to use again from call to call. A
        call that needs gradients of torch's tensors refuses `out` and `workspace`.
    options: see tilewise.Options.

    >>> import numpy, tilewise
    >>> query = key = numpy.zeros((1, 3, 2, 4), numpy.float32)
    >>> value = numpy.arange(24, dtype=numpy.float32).reshape(1, 3, 2, 4)
    >>> tilewise.attention(query, key, value, causal=True)[0, :, 0, 0].tolist()
    [0.0, 4.0, 8.0]
    """
    framework = framework_of("query", query)
    if framework.attention is not None:
        given = (query, key, value, out, output_dtype, return_lse, workspace, options)
        found = framework.attention(*given)
        if found is not NotImplemented:
            return found  # type: ignore[no-any-return]
    if out is not None or output_dtype is not None:
        code = _output_code(framework, out, output_dtype)
    else:
        code = 0
    return attend(  # type: ignore[no-any-return]
        framework,
        Operands(query, key, value),
        _forms.ask(options, code),
        Places(out, check.flag("return_lse", return_lse) or None, workspace),
    )


def _output_code(framework: Framework, out: Any, output_dtype: Any) -> int:
    """The number of the type asked for a new output; 0 if `out` is given."""
    if output_dtype is None:
        require_floats(framework, "out", out, is_written=True)
        return 0
    if out is not None:
        raise ValueError("out and output_dtype are both given; out already has a type.")
    return framework.dtype_code("output_dtype", output_dtype)


@with_options
def attention_backward(
    output_gradient: _Array,
    query: _Array,
    key: _Array,
    value: _Array,
    output: _Array,
    lse: _Array,
    *,
    lse_gradient: _Array | None = None,
    query_gradient: bool = True,
    key_gradient: bool = True,
    value_gradient: bool = True,
    bias_gradient: bool = True,
    slopes_gradient: bool = True,
    sinks_gradient: bool = True,
    out: Gradients | None = None,
    workspace: _Array | None = None,
    **options: Unpack[Options],
) -> Gradients:
    """The gradients of attention, from its arguments, options and results.

    output_gradient is the gradient with respect to output, and lse_gradient, if any, with respect
    to lse; each has the shape of that result. A gradient returned has the shape and type of its
    tensor, except that FP8 tensors get bfloat16, and slopes and sinks float32, or float64 if query
    is float64 and they are not float32. Gradients of bias, slopes and sinks are returned when
    these are given, and are summed over axes that were broadcast. Switch off those that you do not
    need. On torch's tensors call this under torch.no_grad() or in the backward of an
    autograd.Function: the gradients have no gradients themselves.

    out: arrays to write gradients into instead of new ones, in the fields of Gradients.
    options: the ones that attention was called with; see tilewise.Options.

    >>> import numpy, tilewise
    >>> query = key = value = numpy.ones((1, 3, 1, 4), numpy.float32)
    >>> output, lse = tilewise.attention(query, key, value, return_lse=True)
    >>> gradients = tilewise.attention_backward(output, query, key, value, output, lse)
    >>> gradients.value.shape, gradients.bias
    ((1, 3, 1, 4), None)
    """
    framework = framework_of("query", query)
    operands = Operands(query, key, value)
    read = Read(output_gradient, output, lse, lse_gradient)
    wanted = wanted_gradients(
        query_gradient,
        key_gradient,
        value_gradient,
        bias_gradient,
        slopes_gradient,
        sinks_gradient,
    )
    places = Places(out, workspace=workspace)
    if framework.backward is not None:
        found: Gradients = framework.backward(operands, read, wanted, places, options)
        return found
    asked = _forms.ask(options)
    require_seed(asked.dropout, asked.arrays, "its gradients need the same ones")
    return differentiate_anyhow(framework, operands, asked, read, wanted, places)


@with_options
def attention_probabilities(
    query: _Array,
    key: _Array,
    *,
    out: _Array | None = None,
    workspace: _Array | None = None,
    **options: Unpack[Options],
) -> _Array:
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
    framework = framework_of("query", query)
    operands, places = Operands(query, key, None), Places(out, workspace=workspace)
    if framework.probabilities is not None:
        return framework.probabilities(operands, places, options)  # type: ignore[no-any-return]
    asked = _forms.ask(options)
    require_seed(asked.dropout, asked.arrays, "its probabilities say which ones")
    return weigh(framework, operands, asked, places)  # type: ignore[no-any-return]
