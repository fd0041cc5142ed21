"""What is raised for bad input: an error that callers of flash_attn and of tilewise both expect."""

from __future__ import annotations

import re
from typing import Any, Callable

from torch import Tensor

from tilewise.torch._plain import is_compiling

Names = dict[str, str]

# From tilewise's names to those of flash_attn's callers.
_COMMON: Names = {
    "query": "q",
    "key": "k",
    "value": "v",
    "key_cache": "k_cache",
    "value_cache": "v_cache",
    "query_offsets": "cu_seqlens_q",
    "key_offsets": "cu_seqlens_k",
    "max_query_length": "max_seqlen_q",
    "max_key_length": "max_seqlen_k",
    "cosine": "rotary_cos",
    "sine": "rotary_sin",
    "scale": "softmax_scale",
    "dropout": "dropout_p",
    "dropout_state": "rng_state",
    "window": "window_size",
    "sinks": "s_aux",
    "chunk": "attention_chunk",
    "query_factor": "q_descale",
    "key_factor": "k_descale",
    "value_factor": "v_descale",
}
CACHED: Names = {
    **_COMMON,
    "key_lengths": "cache_seqlens",
    "lengths": "cache_seqlens",
    "key_start": "cache_leftpad",
    "cache_batch_index": "cache_batch_idx",
    "page_table": "block_table",
}
# For functions in which the cache is the keys and values, not what is appended to it.
OVER_A_CACHE: Names = {**CACHED, "key": "k_cache", "value": "v_cache"}
PACKED: Names = {
    **_COMMON,
    "key_lengths": "cu_seqlens_k.diff()",
    "key_start": "leftpad_k",
    "page_table": "block_table",
}
USED: Names = {**PACKED, "key_lengths": "seqused_k"}
# Names of version 3. APPENDED has those of its private _flash_attn_forward when it appends, and
# OF_A_CACHE turns them into those of flash_attn_with_kvcache, which says k and k_cache for k_new
# and k.
LATER: Names = {
    **_COMMON,
    "query_lengths": "seqused_q",
    "key_lengths": "seqused_k",
    "lengths": "seqused_k",
    "key_start": "leftpad_k",
    "cache_batch_index": "kv_batch_idx",
}
APPENDED: Names = {
    **LATER,
    "key": "k_new",
    "value": "v_new",
    "key_cache": "k",
    "value_cache": "v",
    "key_offsets": "cu_seqlens_k_new",
}
OF_A_CACHE: Names = {
    "k": "k_cache",
    "v": "v_cache",
    "k_new": "k",
    "v_new": "v",
    "seqlens_rotary": "rotary_seqlens",
    "seqused_k": "cache_seqlens",
    "leftpad_k": "cache_leftpad",
    "kv_batch_idx": "cache_batch_idx",
}
CUTE: Names = {**LATER, "sinks": "learnable_sink"}
TURNED: Names = {
    "input": "x",
    "cosine": "cos",
    "sine": "sin",
    "positions": "seqlen_offsets",
    "offsets": "cu_seqlens",
    "max_length": "max_seqlen",
}
# Some names are English words, too; they are arguments where this follows.
_AS_AN_ARGUMENT = (
    r"(?=\[| of sequence| is\b| has\b| must\b| ends\b| requires\b|( and \w+)? share memory\b"
    r"|\.shape)"
)
_NO_WORDS = ("k", "v")
# This hint of tilewise.attention is cut: most functions of flash_attn take either packed rows or
# padded ones, and in these offsets would not change the rank.
_OTHER_RANK = re.compile(r" With(?:out)? (?:query|key)_offsets it takes \d\.$")


class RefusedError(ValueError, RuntimeError):
    """Bad input. flash_attn raises RuntimeError, tilewise ValueError; RefusedError is both."""


def in_flash(sentence: str, names: Names) -> str:
    """A sentence of tilewise's with the names of flash_attn's arguments.

    >>> in_flash("key_lengths[0] is 17 but sequence 0 has 16 rows, as query_offsets says.", CACHED)
    'cache_seqlens[0] is 17 but sequence 0 has 16 rows, as cu_seqlens_q says.'
    """
    words = "|".join(
        name + ("" if "_" in name or name in _NO_WORDS else _AS_AN_ARGUMENT) for name in names
    )
    said = _OTHER_RANK.sub("", sentence)
    said = re.sub(rf"(?<![\w.])(?:{words})(?!\w)", lambda name: names[name[0]], said)
    query, key, value = (names.get(name, name) for name in ("query", "key", "value"))
    return said.replace("query, key and value", f"{query}, {key} and {value}")


def asking(function: Callable[..., Any], *arguments: Any, names: Names, **given: Any) -> Any:
    """Calls the function, and turns its refusal into the one that flash_attn's callers expect."""
    if is_compiling():
        return function(*arguments, **given)
    try:
        return function(*arguments, **given)
    except NotImplementedError:
        raise
    except (ValueError, TypeError) as error:
        raise RefusedError(in_flash(str(error), names)) from error


def require_tensors(**given: Any) -> None:
    """Refuses whatever is no tensor."""
    for name, x in given.items():
        if not isinstance(x, Tensor):
            kind = "None" if x is None else f"a {type(x).__name__}"
            raise RefusedError(f"{name} is {kind}; pass a torch.Tensor.")
