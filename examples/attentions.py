"""Causal attention three ways, for the programs that compare them.

Each takes query, key and value as (batch, length, heads, head dim), and returns the same.
"""

from __future__ import annotations

import math
from typing import Callable

import tilewise
import torch
from torch import Tensor
from torch.nn import functional

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def by_tilewise(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return tilewise.attention(query, key, value, causal=True)


def by_sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    output = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return output.transpose(1, 2)


def by_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The formula written out in torch's operations, with the whole matrix of scores."""
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    score = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    hidden = torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).triu(1)
    return (score.masked_fill(hidden, -float("inf")).softmax(-1) @ value).transpose(1, 2)


ATTENTIONS: dict[str, Attention] = {
    "tilewise": by_tilewise,
    "sdpa": by_sdpa,
    "eager": by_formula,
}
