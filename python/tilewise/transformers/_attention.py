"""The function that Transformers calls for attention, computed by tilewise."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from tilewise._attend import GROUPED, HEADS_FIRST, Places
from tilewise.torch._attention import call
from tilewise.torch._sdpa import sdpa
from tilewise.transformers._masks import BandMask, needs_eager_masks

NAME = "tilewise"


def attention_forward(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    sinks: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of query (batch, heads, queries, dim) over key and value, as a Transformers model
    asks for it: (output (batch, queries, heads, value dim), None).

    Without attention_mask is_causal decides, with a diagonal from the first query and key. If
    is_causal is None, module.is_causal decides, but in models that need eager's masks a missing
    mask hides nothing. A bool mask says what is visible, one of a float type is added to
    the scores. Key and value may have fewer heads. s_aux (heads) is one more logit in each
    denominator, and sinks (batch, heads, queries, 1) one for each query.
    """
    if kwargs.get("output_attentions"):
        _warn_of_weights()
    queries, keys = query.shape[2], key.shape[2]
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True) and not (
            attention_mask is None and needs_eager_masks(type(getattr(module, "config", None)))
        )
    is_bare = attention_mask is None and position_bias is None and softcap is None
    if (
        is_bare
        and s_aux is None
        and sinks is None
        and not dropout
        and (queries == 1 or queries == keys)
    ):
        if queries == 1 or not is_causal or sliding_window is None or sliding_window >= queries:
            # The shortest way, for what asks for no more.
            causal = queries > 1 and bool(is_causal)
            output = sdpa(query, key, value, None, 0.0, causal, scale=scaling, enable_gqa=True)
            return output.transpose(1, 2).contiguous(), None
    options: dict[str, Any] = {}
    bias = position_bias
    if type(attention_mask) is BandMask and attention_mask.made is not None:
        attention_mask = attention_mask.made
    if type(attention_mask) is BandMask and attention_mask.shape[2:] == (queries, keys):
        options.update(attention_mask.options())
    elif attention_mask is not None:
        if attention_mask.dim() == 2:
            attention_mask = attention_mask[:, None, None, :].to(torch.bool)
        attention_mask = attention_mask[..., :keys]
        if attention_mask.dtype == torch.bool:
            options["mask"] = attention_mask
        elif not attention_mask.is_floating_point():
            raise TypeError(
                f"attention_mask has dtype {str(attention_mask.dtype)[6:]}; make it bool, True "
                "where a key is visible, or give numbers of a float type to add to the scores."
            )
        else:
            bias = attention_mask if bias is None else bias + attention_mask
    elif queries > 1 and is_causal:
        if keys > queries:  # a static cache that holds nothing yet: what is behind has no meaning
            key, value = key[:, :, :queries], value[:, :, :queries]
            bias = None if bias is None else bias[..., :queries]
        options["causal"] = True
        options["diagonal"] = "top_left"
        if sliding_window is not None and sliding_window < queries:
            options["window"] = (sliding_window - 1, None)
    if bias is not None:
        options["bias"] = bias[..., : key.shape[2]]
    if scaling is not None:
        options["scale"] = float(scaling)
    if softcap is not None:
        options["softcap"] = float(softcap)
    if s_aux is not None:
        options["sinks"] = s_aux
    if dropout:
        options["dropout"] = float(dropout)
    if query.shape[0] != key.shape[0]:  # learned queries, one for all of a batch
        query = query.expand(key.shape[0], -1, -1, -1)
    if sinks is None:
        output = call(query, key, value, options, HEADS_FIRST | GROUPED)
    else:
        output, lse = call(query, key, value, options, HEADS_FIRST | GROUPED, Places(lse=True))
        # exp(lse) of exp(lse) + exp(sink): what the sink leaves of each weight
        output = output * torch.sigmoid(lse[..., None] - sinks).to(output.dtype)
    return output.transpose(1, 2).contiguous(), None


def forward_by_name(module: Any, *given: Any, **named: Any) -> tuple[Tensor, None]:
    """attention_forward for the kernel folder, which Transformers gives SDPA's masks; refuses
    models that need eager's."""
    config = type(getattr(module, "config", None))
    if needs_eager_masks(config):
        raise ValueError(
            f"A model with {config.__name__} needs eager's masks, which tilewise.transformers."
            'enable() brings: call it, and take attn_implementation="tilewise".'
        )
    return attention_forward(module, *given, **named)


def _warn_of_weights() -> None:
    if not torch.compiler.is_compiling():
        warnings.warn(
            "output_attentions is True, but tilewise never has the weights: they are left out. "
            'attn_implementation="eager" gives them.',
            stacklevel=3,
        )
