"""Exact attention, tile by tile, for the arrays of NumPy, torch, JAX and CuPy.

attention and attention_backward are the main functions. merge joins attention over parts of the
keys, append and rotary serve caches, explain says how a call would run, and workspace_bytes how
much scratch it needs. kernels lists the GPU's kernels, build_kernels compiles them ahead of the
first call, clear_kernels empties their cache. Results are arrays of the arguments' framework, on
the arguments' device. On torch's tensors attention has gradients, and sdpa is attention with the
arguments of torch's own scaled_dot_product_attention; more for torch is in tilewise.torch.
tilewise.jax is attention that JAX can trace and differentiate. tilewise.flash_attn has flash_attn's
names, and tilewise.transformers serves Hugging Face's models. Of the frameworks this package itself
imports only NumPy. With device="cuda" a call on NumPy's arrays runs on a GPU: the arrays are copied
to the GPU, and the results back.

A request that is wrong raises ValueError or TypeError, one that nothing here can run
NotImplementedError, a failure of the machine RuntimeError. TILEWISE_LIBRARY, when set, is the path
of the shared library to load instead of the one in this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tilewise import _others
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
from tilewise.planning import (
    build_kernels,
    clear_kernels,
    explain,
    kernels,
    workspace_bytes,
)

if TYPE_CHECKING:
    from tilewise import flash_attn as flash_attn
    from tilewise import jax as jax
    from tilewise import torch as torch
    from tilewise import transformers as transformers
    from tilewise.torch import sdpa as sdpa

__version__ = version()
_others.offer_all()

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
    "build_kernels",
    "clear_kernels",
    "devices",
    "explain",
    "kernels",
    "merge",
    "rotary",
    "take_faults",
    "workspace_bytes",
]


# What each of these needs, and imports when it is first asked for.
_NEEDS = {
    "flash_attn": "torch",
    "jax": "JAX",
    "sdpa": "torch",
    "torch": "torch",
    "transformers": "Transformers and torch",
}


def __getattr__(name: str) -> Any:
    """Imports what needs torch, JAX or Transformers when it is first asked for."""
    if name not in _NEEDS:
        raise AttributeError(f"module 'tilewise' has no attribute {name!r}")
    import importlib

    try:
        package = importlib.import_module(f"tilewise.{'torch' if name == 'sdpa' else name}")
    except ImportError as error:  # so that hasattr is False without it
        raise AttributeError(f"tilewise.{name} needs {_NEEDS[name]}: {error}") from error
    if name == "sdpa":
        globals()["sdpa"] = package.sdpa
        return package.sdpa
    return package
