"""What the tests of JAX have in common: eight devices, arrays, and JAX's own attention."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

jax: Any = pytest.importorskip("jax", reason="jax is not installed")
jnp: Any = jax.numpy
# Set before JAX looks for devices, so that the processor counts as eight of them.
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "float32")  # where a GPU would take less
jax.config.update("jax_disable_most_optimizations", True)
face: Any = importlib.import_module("tilewise.jax")

# The largest error against the largest number wanted, where the formula is taken in float64.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}


def rows(
    batch: int = 2,
    queries: int = 9,
    keys: int = 13,
    heads: tuple[int, int] = (4, 2),
    dim: int = 16,
    dtype: str = "float32",
) -> tuple[Any, Any, Any]:
    """query, key and value."""
    random = np.random.default_rng(queries + keys)
    shapes = ((batch, queries, heads[0], dim), *[(batch, keys, heads[1], dim)] * 2)
    query, key, value = (jnp.asarray(random.standard_normal(shape), dtype) for shape in shapes)
    return query, key, value


def grid(*shape: int) -> Any:
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape), "float32")


def both_with_gradients(
    mine: Callable[..., Any], theirs: Callable[..., Any], *arrays: Any, dtype: str = "float32"
) -> None:
    """Compares outputs of two functions, and their gradients by all arrays."""
    weights = jnp.cos(jnp.arange(jax.eval_shape(mine, *arrays).size))

    def graded(function: Callable[..., Any]) -> Any:
        def loss(*given: Any) -> Any:
            output = function(*given)
            return (output.astype("float32").reshape(-1) * weights).sum(), output

        every = tuple(range(len(arrays)))
        (_, output), found = jax.jit(jax.value_and_grad(loss, every, has_aux=True))(*arrays)
        return output, *found

    for found, wanted in zip(graded(mine), graded(theirs)):
        assert found.dtype == wanted.dtype
        close(found, wanted, dtype)


def close(found: Any, wanted: Any, dtype: str = "float32") -> None:
    assert found.shape == wanted.shape
    found, wanted = (np.asarray(x).astype("float64") for x in (found, wanted))
    largest = max(0.25, float(np.max(np.abs(wanted), initial=0)))
    assert float(np.max(np.abs(found - wanted), initial=0)) <= TOLERANCES[dtype] * largest
