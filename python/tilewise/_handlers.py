"""Finds and opens the handlers that XLA calls for tilewise.jax. It does not import JAX."""

from __future__ import annotations

import ctypes
from pathlib import Path

from tilewise import _abi, _library


def path() -> Path:
    """The handlers' file, beside this one."""
    return Path(__file__).parent / "_xla.so"


def load() -> ctypes.CDLL:
    """Opens the handlers and gives them the functions of the loaded library."""
    try:
        handlers = ctypes.CDLL(str(path()))
        version: int = handlers.tilewise_xla_version()
    except (OSError, AttributeError) as error:
        raise ImportError(
            f"This build of tilewise has no part for JAX: {error}. Install a wheel of tilewise, or "
            "build one by `pip install .` in its sources. Without it tilewise.attention takes "
            "JAX's arrays on the processor, forward and outside of jit."
        ) from error
    if version != 1000 * _abi.ABI[0] + _abi.ABI[1]:
        raise ImportError(
            f"{path()} belongs to tilewise {version // 1000}.{version % 1000}, but this package is "
            f"version {_abi.ABI[0]}.{_abi.ABI[1]}. Install both from one release."
        )
    names = ("tw_forward", "tw_backward", "tw_workspace")
    handlers.tilewise_xla_connect(
        *(ctypes.cast(_library.function(name), ctypes.c_void_p) for name in names)
    )
    return handlers
