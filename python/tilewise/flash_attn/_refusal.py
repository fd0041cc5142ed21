"""What is raised for bad input: an error that callers of flash_attn and of tilewise both expect."""

from __future__ import annotations

import re
from typing import Any, Callable

from tilewise.torch._plain import is_compiling

_NAMES = {
    "key_lengths": "cache_seqlens",
    "lengths": "cache_seqlens",
    "key_start": "cache_leftpad",
    "page_table": "block_table",
    "cache_batch_index": "cache_batch_idx",
    "query_offsets": "cu_seqlens_q",
    "key_offsets": "cu_seqlens_k",
    "max_query_length": "max_seqlen_q",
    "max_key_length": "max_seqlen_k",
    "cosine": "rotary_cos",
    "sine": "rotary_sin",
}
_WORD = re.compile(r"\b(?:" + "|".join(_NAMES) + r")\b(?=\[| is| has| must|\.shape|,|;)")


class RefusedError(ValueError, RuntimeError):
    """Bad input. flash_attn raises RuntimeError where tilewise raises ValueError; this is both."""


def in_flash(sentence: str) -> str:
    """A sentence of tilewise's with the names of flash_attn's arguments.

    >>> in_flash("key_lengths[0] is 17 but sequence 0 has 16 rows: it must be from 0 to that.")
    'cache_seqlens[0] is 17 but sequence 0 has 16 rows: it must be from 0 to that.'
    """
    return _WORD.sub(lambda name: _NAMES[name[0]], sentence)


def asking(function: Callable[..., Any], *arguments: Any, **given: Any) -> Any:
    """The function's result; what it refuses is refused as flash_attn's callers expect it."""
    if is_compiling():
        return function(*arguments, **given)
    try:
        return function(*arguments, **given)
    except NotImplementedError:
        raise
    except (ValueError, TypeError) as error:
        where = " (by its block_table)" if given.get("page_table") is not None else ""
        sentence = in_flash(str(error))
        raise RefusedError(sentence[:-1] + where + "." if where else sentence) from error
