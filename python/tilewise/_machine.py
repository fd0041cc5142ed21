"""Facts about this installation and machine, for reports of bugs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

import numpy as np

import tilewise
from tilewise import _device, _handlers, _library, _quick

# Names of distributions. They are looked up, since importing them would take seconds.
FRAMEWORKS = ("torch", "jax", "jaxlib", "cupy", "cupy-cuda12x", "cupy-cuda13x", "ml_dtypes")


def facts() -> dict[str, Any]:
    """Names and values; a value is a string or a list of strings."""
    return {
        "tilewise": f"{_distribution('tilewise') or tilewise.__version__}",
        "library": f"{tilewise.__version__}, {_library.library_path()}",
        "called by": "_fast, the extension" if _quick.extension is not None else "ctypes",
        "tilewise.jax": "is in this build" if _handlers.path().exists() else "not in this build",
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "NumPy": np.__version__,
        "frameworks": [f"{name} {version}" for name, version in _frameworks().items()],
        "backends": tilewise.backends(),
        "instructions": instructions(),
        "processors": f"{_processors()} of {os.cpu_count()}",
        "devices": devices(),
        "GPUs": _device.why_no_gpu() or "can be used",
        "environment": environment(),
    }


def environment() -> list[str]:
    """The variables for tilewise that the user has set."""
    return sorted(
        f"{name}={value}" for name, value in os.environ.items() if name.startswith("TILEWISE_")
    )


def instructions() -> str:
    """The processor's instruction set that the backend cpu takes, as the library names it."""
    shape = (1, 64, 1, 64)
    plan = tilewise.explain(shape, shape, shape, dtype=np.float32, json=True)
    if plan["backend"] != "cpu":
        return f"not asked for: {plan['backend']} runs calls of this processor"
    return str(plan["note"]).partition(",")[0]


def devices() -> list[str]:
    """The processor, and the GPUs that calls can run on."""
    names: Any = getattr(tilewise, "devices", None)
    return list(names()) if names is not None else ["cpu"]


def _frameworks() -> dict[str, str]:
    found = {name: _distribution(name) for name in FRAMEWORKS}
    return {name: version for name, version in found.items() if version is not None}


def _distribution(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
