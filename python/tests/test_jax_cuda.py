"""tilewise.jax on a GPU, for a machine with one and JAX's part for CUDA; skipped elsewhere.

Where there is one, the other tests of JAX run on it, too: it is the device that JAX takes first.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from jax_cases import close, face, grid, jax, jnp, rows

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "gpu", reason="JAX has no GPU here: nothing is run on one"
)
mine = face.dot_product_attention


def on(device: Any, function: Any, *arrays: Any) -> Any:
    """Results of a compiled function there, as NumPy's."""
    placed = jax.device_put(arrays, device)
    return jax.tree.map(np.asarray, jax.jit(function)(*placed))


def gradients(options: dict[str, Any]) -> Any:
    def loss(*arrays: Any) -> Any:
        output = mine(*arrays, **options)
        return (output.astype("float32") ** 2).sum(), output

    return jax.grad(loss, (0, 1, 2, 3), has_aux=True)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dim", [40, 64, 128])
def test_the_same_as_on_the_processor(dtype: str, dim: int) -> None:
    arrays = rows(queries=200, keys=333, heads=(4, 2), dim=dim, dtype=dtype)
    lengths = jnp.array([200, 77]), jnp.array([333, 250])
    options = {"is_causal": True, "local_window_size": (150, 3)}
    given = (*arrays, grid(1, 4, 200, 333).astype(dtype))

    def function(query_lengths: Any, key_lengths: Any, *given: Any) -> Any:
        more = {"query_seq_lengths": query_lengths, "key_value_seq_lengths": key_lengths}
        return gradients({**options, **more})(*given)

    found, output = on(jax.devices()[0], function, *lengths, *given)
    wide = [x.astype("float32") for x in given]
    wanted, expected = on(jax.devices("cpu")[0], function, *lengths, *wide)
    close(output, expected, dtype)
    for x, y in zip(found, wanted):
        close(x, y, dtype)


def test_many_calls_in_flight() -> None:
    query, key, value = rows(batch=1, queries=512, keys=512, heads=(8, 8), dim=64)

    def layers(x: Any, key: Any, value: Any) -> Any:
        def layer(x: Any, _: Any) -> Any:
            return x / 2 + mine(x, key, value, is_causal=True), None

        return jax.lax.scan(layer, x, None, length=40)[0]

    found = [jax.jit(layers)(query + i, key, value) for i in range(4)]
    for i, x in enumerate(found):
        close(np.asarray(x), on(jax.devices("cpu")[0], layers, query + i, key, value))


def test_every_gpu() -> None:
    arrays = rows(dtype="bfloat16")
    wanted = on(jax.devices()[0], functools.partial(mine, is_causal=True), *arrays)
    for device in jax.local_devices():
        found = on(device, functools.partial(mine, is_causal=True), *arrays)
        np.testing.assert_array_equal(found, wanted)


def test_shards_of_gpus() -> None:
    devices = jax.local_devices()
    if len(devices) < 2:
        pytest.skip("there is one GPU")
    mesh = jax.sharding.Mesh(np.array(devices), ("x",))
    lies = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, None, "x"))
    arrays = rows(heads=(2 * len(devices), len(devices)))
    found = jax.jit(mine)(*jax.device_put(arrays, lies))
    close(np.asarray(found), on(devices[0], mine, *arrays))
