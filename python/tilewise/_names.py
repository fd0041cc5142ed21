"""Replaces the names of C members in the library's sentences by those of Python's arguments."""

from __future__ import annotations

import re

from tilewise._slots import NUMBERS, SLOTS

_NAMES = {
    **{f"{place.part}.{place.member}": name for name, place in SLOTS.items()},
    **{f"{place.part}.{place.member}": name for name, place in NUMBERS.items()},
    "mask.block_query": "block_size[0]",
    "mask.block_key": "block_size[1]",
    "mask.left": "window[0]",
    "mask.right": "window[1]",
    "mask.shift": "diagonal",
    "scores.scale": "scale",
    "dropout.base": "dropout_base",
    "sequences.offsets": "offsets",
    "sequences.used": "lengths",
    "sequences.start": "start",
    "sequences.max_length": "max_length",
    "gradients.output": "output_gradient",
    "gradients.lse": "lse_gradient",
    "gradients.query": "query's gradient",
    "gradients.key": "key's gradient",
    "gradients.value": "value's gradient",
    "gradients.bias": "bias's gradient",
    "gradients.slopes": "alibi_slopes' gradient",
    "gradients.sinks": "sinks' gradient",
    "rotation.cosine": "cosine",
    "rotation.sine": "sine",
    "tw_workspace": "tilewise.workspace_bytes",
    # Python packages come without the program `tilewise`.
    "`tilewise kernels list`": "`tilewise.kernels()`",
    "tilewise kernels clear": "tilewise.clear_kernels()",
}


def in_python(sentence: str) -> str:
    """`sentence` with the names of arguments instead of members."""
    return re.sub(
        r"\w+\.[a-z_]+|tw_workspace|`tilewise kernels list`|tilewise kernels clear",
        lambda name: _NAMES.get(name[0], name[0]),
        sentence,
    )
