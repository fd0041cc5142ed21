"""Opens the handlers that XLA calls, and registers them with JAX."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from tilewise import _abi, _library

try:
    import jax
    import jax.ffi
except ImportError as error:
    raise ImportError(
        f"tilewise.jax needs jax 0.5 or newer with jax.ffi: {error}. Install it, for the processor "
        "with `pip install jax`."
    ) from error

_OPERATIONS = ("forward", "backward")
# As JAX names a platform, and as a handler's name ends.
_PLATFORMS = {"cpu": "cpu", "CUDA": "cuda"}


def path() -> Path:
    """Where the handlers lie: beside the package."""
    return Path(__file__).parents[1] / "_xla.so"


def load() -> ctypes.CDLL:
    """Opens the handlers and hands them the library's functions."""
    try:
        handlers = ctypes.CDLL(str(path()))
        version = handlers.tilewise_xla_version()
    except (OSError, AttributeError) as error:
        raise ImportError(
            f"This build of tilewise has no part for JAX: {error}. Install a wheel of tilewise, or "
            "build one with `pip install .` in its sources; tilewise.attention takes JAX's arrays "
            "without it, forward and outside of jit."
        ) from error
    if version != 1000 * _abi.ABI[0] + _abi.ABI[1]:
        raise ImportError(
            f"{path()} belongs to tilewise {version // 1000}.{version % 1000}, but this package is "
            f"version {_abi.ABI[0]}.{_abi.ABI[1]}. Install both from one release."
        )
    names = ("tw_forward", "tw_backward", "tw_workspace")
    addresses = [ctypes.cast(_library.function(name), ctypes.c_void_p) for name in names]
    handlers.tilewise_xla_connect(*addresses)
    return handlers


def register() -> None:
    """Registers forward and backward for the processor and for CUDA, once in a process."""
    handlers = load()
    for platform, ending in _PLATFORMS.items():
        for operation in _OPERATIONS:
            handler: Any = getattr(handlers, f"tilewise_xla_{operation}_{ending}")
            capsule = jax.ffi.pycapsule(handler)
            jax.ffi.register_ffi_target(f"tilewise_{operation}", capsule, platform=platform)


register()
