"""ALiBi's slopes: the standard ones, those of a list, or a parameter that learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Union

import torch
from torch import Tensor, nn

from tilewise.torch._arrays import PLAIN
from tilewise.torch._plain import is_compiling

Slopes = Union[bool, Sequence[float], Tensor, None]


def standard_slopes(heads: int) -> list[float]:
    """ALiBi's slopes as its authors chose them: powers of 2 ** (-8 / heads).

    Where heads is no power of two, those of the power below come first, then every other one of the
    power above.

    >>> from tilewise.torch import standard_slopes
    >>> standard_slopes(4)
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    below = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8 * (each + 1) / below) for each in range(below)]
    above = [2.0 ** (-8 * (each + 1) / (2 * below)) for each in range(0, 2 * below, 2)]
    return slopes + above[: heads - below]


def chosen_slopes(given: Slopes, heads: int) -> Any:
    """A parameter as it is, numbers as a list, or None."""
    slopes: Any
    if given is None or given is False:
        return None
    if isinstance(given, nn.Parameter):
        slopes = given
    else:
        if isinstance(given, Tensor) and given.requires_grad:
            raise ValueError(
                "alibi_slopes is a tensor that requires a gradient, of which the module would keep "
                "the numbers alone; pass an nn.Parameter, which learns, or alibi_slopes.detach()."
            )
        slopes = standard_slopes(heads) if given is True else [float(slope) for slope in given]
    if len(slopes) != heads:
        raise ValueError(
            f"alibi_slopes has {len(slopes)} numbers; there are {heads} heads, and each has one."
        )
    return slopes


def slopes_on(device: Any, slopes: Any, kept: dict[Any, Tensor]) -> Tensor:
    """The slopes as a tensor on `device`; a list's stay float32, whatever the module's type."""
    if isinstance(slopes, Tensor):
        return slopes
    if is_compiling():
        return torch.tensor(slopes, dtype=torch.float32, device=device)
    found = kept.get(device)
    if found is None:
        # Kept slopes must serve training, too, and tensors made in inference mode cannot.
        with torch.inference_mode(False):
            found = torch.tensor(slopes, dtype=torch.float32, device=device)
        if type(found) in PLAIN:
            kept[device] = found
    return found
