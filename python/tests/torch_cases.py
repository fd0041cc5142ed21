"""Tensors for the tests of the torch face, and what they are held against."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any, Callable

import pytest

torch: Any = pytest.importorskip("torch", reason="torch is not installed: the face is not tested")
# As Any: the tests unpack tuples of any number of tensors, which is more than a checker follows.
tilewise: Any = importlib.import_module("tilewise")
functional: Any = torch.nn.functional


def is_before(*version: int) -> bool:
    """Whether this torch is older."""
    return tuple(map(int, torch.__version__.split(".")[:2])) < version


def rows(*shape: int, dtype: Any = None, seed: int = 0, needs_grad: bool = False) -> Any:
    """Random numbers that are the same each time."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(shape, generator=generator, dtype=torch.float64)
    return made.to(dtype or torch.float32).requires_grad_(needs_grad)


def tensors(
    batch: int = 2,
    queries: int = 9,
    keys: int = 13,
    heads: int = 4,
    key_heads: int = 2,
    dim: int = 16,
    value_dim: int = 16,
    dtype: Any = None,
    needs_grad: bool = False,
) -> Any:
    """query, key and value of tilewise.attention: (batch, length, heads, dim)."""
    return (
        rows(batch, queries, heads, dim, dtype=dtype, seed=1, needs_grad=needs_grad),
        rows(batch, keys, key_heads, dim, dtype=dtype, seed=2, needs_grad=needs_grad),
        rows(batch, keys, key_heads, value_dim, dtype=dtype, seed=3, needs_grad=needs_grad),
    )


def heads_first(heads: int = 4, key_heads: int = 4, needs_grad: bool = False, **sizes: Any) -> Any:
    """query, key and value as scaled_dot_product_attention takes them, heads before length."""
    made = tensors(heads=heads, key_heads=key_heads, **sizes)
    return tuple(x.transpose(1, 2).contiguous().requires_grad_(needs_grad) for x in made)


def close(found: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)


def gradients(function: Callable[..., Any], inputs: Any) -> Any:
    """The gradients of a loss in which every element of the output counts differently."""
    output = function(*inputs)
    loss = (output.double().sin() * (1 + output.double())).sum()
    return torch.autograd.grad(loss, inputs, materialize_grads=True)


def by_formula(query: Any, key: Any, value: Any, bias: Any = None, scale: Any = None) -> Any:
    """(output, lse) of (batch, length, heads, dim), in float64."""
    group = query.shape[2] // key.shape[2]
    query, key, value = (x.double().transpose(1, 2) for x in (query, key, value))
    key, value = (x.repeat_interleave(group, 1) for x in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    score = scale * query @ key.transpose(-1, -2)
    score = score if bias is None else score + bias.double()
    return (score.softmax(-1) @ value).transpose(1, 2), score.logsumexp(-1)


@contextlib.contextmanager
def nobody_may_wait() -> Iterator[None]:
    """An error is raised if torch makes the host wait for the GPU in here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls this a prototype
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")
