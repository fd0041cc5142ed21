"""The library's sentences name members of C structs; this says them by the names used here."""

from __future__ import annotations

import re

_NAMES = {
    "mask.visible": "mask",
    "mask.blocks": "block_mask",
    "mask.block_query": "block_size[0]",
    "mask.block_key": "block_size[1]",
    "mask.left": "window[0]",
    "mask.right": "window[1]",
    "mask.shift": "diagonal",
    "mask.chunk": "chunk",
    "scores.scale": "scale",
    "scores.softcap": "softcap",
    "scores.slopes": "alibi_slopes",
    "scores.bias": "bias",
    "scores.sinks": "sinks",
    "dropout.probability": "dropout",
    "dropout.base": "dropout_base",
    "dropout.state": "dropout_state",
    "queries.offsets": "query_offsets",
    "queries.used": "query_lengths",
    "queries.start": "query_start",
    "queries.max_length": "max_query_length",
    "keys.offsets": "key_offsets",
    "keys.used": "key_lengths",
    "keys.start": "key_start",
    "keys.max_length": "max_key_length",
    "sequences.offsets": "offsets",
    "sequences.used": "lengths",
    "sequences.start": "start",
    "sequences.max_length": "max_length",
    "cache.page_table": "page_table",
    "cache.batch_index": "cache_batch_index",
    "scaling.query": "query_factor",
    "scaling.key": "key_factor",
    "scaling.value": "value_factor",
    "scaling.output_gradient": "output_gradient_factor",
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
    # Packages bring no command line.
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
