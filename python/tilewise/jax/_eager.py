"""tilewise.attention of JAX's arrays on GPUs, outside of jit."""

from __future__ import annotations

import inspect
from typing import Any

from tilewise import _arguments as check
from tilewise import _forms
from tilewise._call import refuse_device, require_rank
from tilewise._frameworks import Framework
from tilewise.jax._attention import attention
from tilewise.options import DEFAULTS

_TAKEN = frozenset(inspect.signature(attention).parameters)
_MEANINGLESS = ("threads", "seed", "dropout_offset")  # on a GPU, and without dropout


def attend(
    framework: Framework,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    output_dtype: Any,
    return_lse: Any,
    workspace: Any,
    options: dict[str, Any],
) -> Any:
    """The output, or (output, lse)."""
    for name, place in (("out", out), ("workspace", workspace)):
        if place is not None:
            framework.check(name, place, is_written=True)  # its own message if `place` is JAX's
            raise ValueError(
                f"{name} is given, and query is a JAX array on a GPU, where JAX alone makes room; "
                "take the result."
            )
    asked = _forms.ask(options)
    refuse_device(framework, asked.device)
    given = {**asked.scalars, **asked.arrays}
    asked_for = [name for name, x in asked.scalars.items() if x not in (None, DEFAULTS.get(name))]
    asked_for += ["output_dtype"] * (output_dtype is not None)
    for name in (*asked_for, *asked.arrays):
        if name not in _TAKEN and name not in _MEANINGLESS:
            raise NotImplementedError(
                f"{name} is given, which of JAX's arrays those on the processor have alone: "
                "jax.device_put(x, jax.devices('cpu')[0])."
            )
    for name, operand in (("query", query), ("key", key), ("value", value)):
        require_rank(name, tuple(operand.shape), is_packed=False)
    taken: dict[str, Any] = {name: x for name, x in given.items() if name in _TAKEN}
    taken["return_lse"] = check.flag("return_lse", return_lse)
    return attention(query, key, value, **taken)
