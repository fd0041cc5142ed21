"""The families of docs/numerics.md, drawn as torch's tensors: numbers that make softmax hard."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FAMILIES = (
    *("needle", "gauss", "outlier", "peaky", "hub", "shift", "large", "small", "ones"),
    *("lonely", "late", "constant keys"),
)
NEEDLE_BITS = 17
SHIFTS = (128.0, 1e4, 1e5)  # a head each


@dataclass
class Drawn:
    """A problem: query, key and value, the output's gradient, and which keys each query sees."""

    given: list[Tensor]  # (batch, length, heads, dim)
    arriving: Tensor
    visible: Tensor  # (length, length)
    mask: Tensor | None  # the family's own, (1, 1, length, length); None: no mask, or causal


def outlier(numbers: Tensor) -> Tensor:
    """Adds an outlier about ten times as large to 3 of 1000 numbers."""
    is_out = torch.rand_like(numbers) < 0.003
    return numbers + is_out * 10 * torch.randn_like(numbers)


def codes(length: int, dim: int) -> Tensor:
    """A row of signs for each key: its number in the last channels, noise in the others."""
    noise = torch.where(torch.rand(length, dim) < 0.5, 1.0, -1.0)
    bits = min(NEEDLE_BITS, dim)
    places = torch.arange(length)[:, None] >> torch.arange(bits - 1, -1, -1)
    noise[:, dim - bits :] = torch.where(places % 2 == 1, 1.0, -1.0)
    return noise.double()


def fill(family: str, query: Tensor, key: Tensor, causal: bool) -> None:
    """Changes normal queries and keys in place into those of the family."""
    length, heads, dim = query.shape[1:]
    scale = dim**-0.5
    if family == "peaky":
        query *= 8
    elif family == "outlier":
        query[:], key[:] = outlier(query), outlier(key)
    elif family == "shift":
        for head in range(heads):
            query[:, :, head, 0] = 128
            moved = SHIFTS[head % len(SHIFTS)] / (scale * 128)
            key[:, :, head, 0] = -min(moved, 60000)
    elif family == "hub":
        reach = min(8.0, math.sqrt(12 / (scale * dim)))
        code = codes(1, dim)[0]
        query[:] = reach * code + query / 2
        key[:, [0, length // 3, 2 * length // 3, length - 1]] = reach * code
    elif family == "needle":
        code = codes(length, dim)
        rows = torch.arange(length)
        needles = (rows * 7919) % (rows + 1 if causal else length)
        key[:] = code[:, None]
        query[:] = 1024 * code[needles][:, None]
    elif family == "constant keys":
        key[:] = key[:, :1]


def hidden_by(family: str, length: int) -> Tensor | None:
    """The mask of a family that has one: True where a key is visible."""
    rows, keys = torch.arange(length)[:, None], torch.arange(length)[None]
    if family == "lonely":
        return keys == length - 1 - rows % 16
    if family == "late":
        return (keys >= 128).expand(length, length)
    return None


def draw(
    family: str, sizes: tuple[int, int, int], causal: bool, dtype: torch.dtype, device: str
) -> Drawn | None:
    """A problem of (length, heads, dim); None for causal if the family has a mask of its own."""
    length, heads, dim = sizes
    left = hidden_by(family, length)
    if left is not None and causal:
        return None
    torch.manual_seed(FAMILIES.index(family) * 8 + dim + causal)
    query, key, value, arriving = torch.randn(4, 1, length, heads, dim, dtype=torch.float64)
    fill(family, query, key, causal)
    if family == "outlier":
        value = outlier(value)
    elif family == "large":
        value, arriving = 1e3 * value, 1e-3 * arriving
    elif family == "small":
        value = 1e-5 * value
    elif family == "ones":
        value = torch.ones_like(value)
    place = {"device": device, "dtype": dtype}
    visible = torch.ones(length, length, dtype=torch.bool)
    visible = visible.tril() if causal else visible if left is None else left
    return Drawn(
        [x.to(**place).requires_grad_() for x in (query, key, value)],
        arriving.to(**place),
        visible.to(device),
        None if left is None else left.to(device)[None, None],
    )
