"""explain, workspace_bytes, backends and the version: shapes are enough."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tilewise
from reference import arrays
from tilewise import planning

SHAPES = ((2, 19, 4, 16), (2, 37, 2, 16), (2, 37, 2, 24))
OPERATIONS: tuple[Literal["forward", "backward", "probabilities"], ...] = (
    "forward",
    "backward",
    "probabilities",
)


def test_version_is_the_headers() -> None:
    header = Path(__file__).parents[2] / "include" / "tilewise" / "tilewise.h"
    numbers = re.findall(r"#define TW_VERSION_\w+ (\d+)", header.read_text())
    assert tilewise.__version__ == ".".join(numbers)


def test_backends() -> None:
    names = tilewise.backends()
    assert names
    assert len(set(names)) == len(names)
    assert names[-1] == "plain"


def test_names_of_types_need_no_package() -> None:
    """NumPy knows bfloat16 once ml_dtypes is imported, but here are no arrays of it."""
    program = (
        "import sys, tilewise; shape = (1, 8, 2, 16); name = sys.argv[1];"
        "plan = tilewise.explain(shape, shape, shape, dtype=name, json=True);"
        "back = tilewise.explain(shape, shape, shape, dtype=name, operation='backward', json=True);"
        "assert 'ml_dtypes' not in sys.modules;"
        "print(plan['dtype'], tilewise.workspace_bytes(shape, shape, shape, dtype=name) >= 0)"
    )
    for name in ("bfloat16", "float16", "float64"):
        said = subprocess.run(
            [sys.executable, "-c", program, name], capture_output=True, text=True, check=False
        )
        assert (said.stdout, said.stderr) == (f"{name} True\n", "")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_explain(operation: Literal["forward", "backward", "probabilities"]) -> None:
    plan = tilewise.explain(*SHAPES, operation=operation, json=True, causal=True)
    assert plan["backend"] in tilewise.backends()
    text = tilewise.explain(*SHAPES, operation=operation, causal=True)
    assert plan["backend"] in text
    of_arrays = tilewise.explain(
        *arrays(dtype=np.float32), operation=operation, causal=True, json=True
    )
    # A short run measures the machine's speed each time.
    assert of_arrays.pop("predicted_seconds") > 0
    assert plan.pop("predicted_seconds") > 0
    assert of_arrays == plan


def test_a_long_explanation_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tilewise.explain(*SHAPES, json=True)
    monkeypatch.setattr(planning, "_LIKELY_BYTES", 8)
    assert tilewise.explain(*SHAPES, json=True).keys() == whole.keys()


def test_explain_of_shapes_no_machine_could_hold() -> None:
    shape = (64, 2**20, 128, 128)
    assert tilewise.explain(shape, shape, shape, dtype=np.float16)


def test_explain_with_options() -> None:
    options: dict[str, Any] = {
        "sinks": np.zeros(4),
        "bias": np.zeros((19, 37), np.float32),
        "alibi_slopes": np.ones(4),
    }
    assert tilewise.explain(*SHAPES, operation="backward", **options)


SLOPES = np.ones(4, np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {"bias": np.broadcast_to(np.zeros((19, 37), np.float32), (2, 4, 19, 37))},
        {"bias": np.zeros((4, 1, 37), np.float32)},
        {"bias": np.zeros((37, 19), np.float32).T},
        {"alibi_slopes": np.broadcast_to(SLOPES, (2, 4))},
        {"alibi_slopes": np.ones((4, 2), np.float32).T, "sinks": np.ones(8, np.float32)[::2]},
        {"sinks": np.broadcast_to(SLOPES[0], 4)},
    ],
)
def test_plans_of_what_is_broadcast(options: dict[str, Any]) -> None:
    plan = tilewise.explain(*SHAPES, operation="backward", json=True, **options)
    size = tilewise.workspace_bytes(*SHAPES, operation="backward", **options)
    assert plan["workspace_bytes"] == size
    query, key, value = arrays(dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    workspace = np.empty(size, np.uint8)
    tilewise.attention_backward(
        output, query, key, value, output, lse, workspace=workspace, **options
    )


@pytest.mark.parametrize("operation", OPERATIONS)
def test_workspace_of_shapes_and_arrays(
    operation: Literal["forward", "backward", "probabilities"],
) -> None:
    from_shapes = tilewise.workspace_bytes(*SHAPES, dtype=np.float64, operation=operation)
    assert from_shapes == tilewise.workspace_bytes(*arrays(), operation=operation)


def test_a_type_that_arrays_do_not_have() -> None:
    given = arrays(dtype=np.float32)
    assert tilewise.explain(*given, dtype="float32")
    assert tilewise.workspace_bytes(given[0], *SHAPES[1:], dtype=np.float32) >= 0
    with pytest.raises(TypeError, match=r"^dtype is 'nope', which NumPy does not know"):
        tilewise.explain(*given, dtype="nope")
    for function in (tilewise.explain, tilewise.workspace_bytes):
        with pytest.raises(ValueError, match=r"^query is an array of float32, but dtype is 'flo"):
            function(*given, dtype="float64")


def test_what_cannot_be_planned() -> None:
    wrong: Any = "sideways"
    with pytest.raises(ValueError, match=r"operation is 'sideways'; it must be one of forward"):
        tilewise.explain(*SHAPES, operation=wrong)
    wrong = (2.0, 3, 4, 5)
    with pytest.raises(TypeError, match=r"query's shape is a float; it must be an integer"):
        tilewise.explain(wrong, *SHAPES[1:])
    for given, name in ((complex, "complex128"), ("int8", "int8"), (np.int32, "int32")):
        with pytest.raises(TypeError, match=rf"^dtype is {name}; it must be one of float32"):
            tilewise.explain(*SHAPES, dtype=given)
    wrong = "float33"
    with pytest.raises(
        TypeError, match=r"^dtype is 'float33', which NumPy does not know; bfloat16"
    ):
        tilewise.workspace_bytes(*SHAPES, dtype=wrong)
    with pytest.raises(ValueError, match=r"heads"):
        tilewise.explain((2, 19, 3, 16), *SHAPES[1:])
