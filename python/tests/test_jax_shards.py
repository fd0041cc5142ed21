"""tilewise.jax on arrays that lie on eight devices, by batch and by heads."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
from jax_cases import close, face, grid, jax, jnp, rows

P: Any = jax.sharding.PartitionSpec
mine = face.dot_product_attention
theirs = functools.partial(jax.nn.dot_product_attention, implementation="xla")
pytestmark = pytest.mark.skipif(len(jax.devices()) < 8, reason="there are no eight devices")


def mesh_of(kind: str) -> Any:
    devices = np.array(jax.devices()).reshape(4, 2)
    kinds = (getattr(jax.sharding.AxisType, kind),) * 2
    return jax.sharding.Mesh(devices, ("x", "y"), axis_types=kinds)


# The mesh's kind; key heads; how batch and heads lie; the bias's batch and heads.
CASES: list[tuple[str, int, tuple[Any, Any], tuple[int, int]]] = [
    ("Auto", 8, ("x", "y"), (1, 8)),
    ("Auto", 4, ("x", "y"), (4, 1)),
    ("Auto", 4, (None, "x"), (1, 1)),
    ("Auto", 1, ("x", "y"), (1, 1)),
    ("Explicit", 4, ("x", "y"), (1, 8)),
    ("Explicit", 1, (None, ("x", "y")), (4, 8)),
]


def loss(function: Any, *arrays: Any) -> Any:
    query, key, value, bias, lengths = arrays
    output = function(query, key, value, bias, key_value_seq_lengths=lengths, is_causal=True)
    return (output**2).sum()


@pytest.mark.parametrize(("kind", "key_heads", "lies", "bias"), CASES, ids=str)
def test_each_device_has_its_own(
    kind: str, key_heads: int, lies: tuple[Any, Any], bias: tuple[int, int]
) -> None:
    arrays = (*rows(batch=4, heads=(8, key_heads)), grid(*bias, 9, 13), jnp.array([13, 9, 2, 5]))
    batch, heads = lies
    keys = P(batch, None, heads if key_heads > 1 else None)
    shared = [x if size > 1 else None for x, size in zip(lies, bias)]
    mesh = mesh_of(kind)
    placed = [
        jax.device_put(x, jax.sharding.NamedSharding(mesh, spec))
        for x, spec in zip(arrays, (P(batch, None, heads), keys, keys, P(*shared), P(batch)))
    ]
    step = jax.jit(jax.value_and_grad(functools.partial(loss, mine), (0, 1, 2, 3)))
    with jax.set_mesh(mesh):
        compiled = step.lower(*placed).compile()
        found, gradients = compiled(*placed)
    wanted = jax.jit(jax.value_and_grad(functools.partial(loss, theirs), (0, 1, 2, 3)))(*arrays)
    assert float(found) == pytest.approx(float(wanted[0]), rel=1e-5)
    for x, y in zip(gradients, wanted[1]):
        close(np.asarray(x), y)
    text = compiled.as_text()
    # Nothing is brought together but sums, and each device has a part of the batch and the heads.
    assert "all-to-all" not in text
    if kind == "Auto":
        assert "all-gather" not in text
    parts = {"x": 4, "y": 2, ("x", "y"): 8, None: 1}
    local = f"f32[{4 // parts[batch]},9,{8 // parts[heads]},16]"
    calls = re.findall(r".*custom_call_target=.tilewise_(?:for|back)ward.*", text)
    assert len(calls) == 2
    assert all(local in call for call in calls)
    assert gradients[0].sharding.is_equivalent_to(placed[0].sharding, 4)


LIES = [P("x"), P(None, "x"), P(None, None, "x"), P(None, None, None, "y")]


@pytest.mark.parametrize("lies", LIES)
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_what_cannot_be_shared_out_is_whole(kind: str, lies: Any) -> None:
    # A batch of 4, 8 queries, 4 heads of which 2 are keys' on 4 devices, and a dim of 16 on 2.
    arrays = rows(batch=4, queries=8)
    place = jax.sharding.NamedSharding(mesh_of(kind), lies)
    query = jax.device_put(arrays[0], place)
    found = mine(query, *arrays[1:]) if kind == "Auto" else jax.jit(mine)(query, *arrays[1:])
    close(np.asarray(found), jax.jit(theirs)(*arrays))


@pytest.mark.parametrize("is_checked", [True, False])
def test_shard_map(is_checked: bool) -> None:
    arrays = (*rows(batch=4, heads=(8, 4)), grid(1, 8, 9, 13))
    whole = P("x", None, "y")
    mapped = jax.shard_map(
        functools.partial(mine, is_causal=True),
        mesh=mesh_of("Auto"),
        in_specs=(whole, whole, whole, P(None, "y")),
        out_specs=whole,
        check_vma=is_checked,
    )
    every = (0, 1, 2, 3)
    found = jax.jit(jax.grad(lambda *x: (mapped(*x) ** 2).sum(), every))(*arrays)
    wanted = jax.jit(jax.grad(lambda *x: (theirs(*x, is_causal=True) ** 2).sum(), every))(*arrays)
    for x, y in zip(found, wanted):
        close(np.asarray(x), y)
