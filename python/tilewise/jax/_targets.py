"""Registers the handlers with JAX, for the processor and for CUDA, once in a process."""

from __future__ import annotations

from typing import Any

from tilewise import _handlers

try:
    import jax
    import jax.ffi
except ImportError as error:
    raise ImportError(
        f"tilewise.jax needs jax 0.5 or newer: {error}. Install it, for the processor by "
        "`pip install jax`, for CUDA as JAX's own page of installation says."
    ) from error

_OPERATIONS = ("forward", "backward")
# JAX's name of a platform, and the end of a handler's name.
_PLATFORMS = {"cpu": "cpu", "CUDA": "cuda"}


def register() -> None:
    """Registers the four handlers."""
    handlers = _handlers.load()
    for platform, ending in _PLATFORMS.items():
        for operation in _OPERATIONS:
            handler: Any = getattr(handlers, f"tilewise_xla_{operation}_{ending}")
            capsule = jax.ffi.pycapsule(handler)
            jax.ffi.register_ffi_target(f"tilewise_{operation}", capsule, platform=platform)


register()
