"""Exact attention, tile by tile, for NumPy arrays.

attention and attention_backward are what it is for. merge joins attention over parts of the keys,
append and rotary serve caches, explain and workspace_bytes say what a call would do, kernels what
there is of the GPU's. With device="cuda" a call runs on a GPU: its arrays are copied there, and the
results back.

A request that is wrong raises ValueError or TypeError, one that nothing here can run
NotImplementedError, a failure of the machine RuntimeError. TILEWISE_LIBRARY, when set, is the path
of the shared library to load instead of the one in this package.
"""

from tilewise._device import devices
from tilewise._library import backends, version
from tilewise.attention import (
    Gradients,
    attention,
    attention_backward,
    attention_probabilities,
)
from tilewise.cache import append, rotary
from tilewise.faults import Fault, take_faults
from tilewise.merging import merge
from tilewise.options import Options
from tilewise.planning import explain, kernels, workspace_bytes

__version__ = version()

__all__ = [
    "Fault",
    "Gradients",
    "Options",
    "__version__",
    "append",
    "attention",
    "attention_backward",
    "attention_probabilities",
    "backends",
    "devices",
    "explain",
    "kernels",
    "merge",
    "rotary",
    "take_faults",
    "workspace_bytes",
]
