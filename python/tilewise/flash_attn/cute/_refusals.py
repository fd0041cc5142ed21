"""What FlashAttention-4 has and tilewise has not, each with a sentence."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])
_INSTEAD = {
    "score_mod": (
        "it is a function of CuTe's, which nothing but its own compiler can run. Tilewise has "
        "bias, alibi_slopes and softcap: see tilewise.attention"
    ),
    "score_mod_bwd": "it belongs to score_mod, which tilewise does not take",
    "mask_mod": (
        "it is a function of CuTe's, which nothing but its own compiler can run. Tilewise has mask "
        "and block_mask: see tilewise.attention"
    ),
    "aux_tensors": "they belong to score_mod and mask_mod, which tilewise does not take",
    "aux_scalars": "they belong to score_mod and mask_mod, which tilewise does not take",
    "block_sparse_tensors": "tilewise.torch.block_sparse_attention takes a layout of bool instead",
    "block_sparse_tensors_bwd": (
        "tilewise.torch.block_sparse_attention takes a layout of bool instead"
    ),
    "gather_kv_indices": "gather the keys before, or put them into pages and give page_table",
}


def refusing(function: _Function) -> _Function:
    """The function, made to refuse each argument of _INSTEAD that is not None."""
    parameters = enumerate(inspect.signature(function).parameters)
    places = [(name, place) for place, name in parameters if name in _INSTEAD]

    @functools.wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        for name, place in places:
            if (given[place] if place < len(given) else named.get(name)) is not None:
                raise NotImplementedError(f"{name} is given, but {_INSTEAD[name]}.")
        return function(*given, **named)

    return cast("_Function", checked)
