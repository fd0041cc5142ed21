"""flash_attn's arguments in tilewise's terms, and tilewise's lse in flash_attn's.

flash_attn (version 2) writes -1 for a window without a limit, and gives +inf as the lse of queries
that see no key. For ALiBi under a causal mask without a window flash_attn adds slope * j to the
score of key j, while tilewise subtracts slope times the distance from the diagonal.
"""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tilewise.flash_attn._refusal import RefusedError, require_tensors

_INFINITY = float("inf")


class Turn(NamedTuple):
    """flash_attn's lse minus tilewise's, for ALiBi under a causal mask: see term().

    diagonals has i + d, the key on query i's diagonal, for each query: (queries), (batch, queries),
    or packed (tokens).
    """

    slopes: Tensor
    diagonals: Tensor

    def term(self, is_packed: bool, dtype: torch.dtype) -> Tensor:
        """slope * (i + d), in the shape of lse."""
        slopes = self.slopes.detach().to(dtype)
        if is_packed:
            return slopes[..., None] * self.diagonals
        slopes = slopes[None] if slopes.dim() == 1 else slopes
        diagonals = self.diagonals[None] if self.diagonals.dim() == 1 else self.diagonals
        return slopes[:, :, None] * diagonals[:, None, :]


def window_of(window_size: Any, causal: bool, keys: Any = None) -> tuple[Any, Any]:
    """(left, right) with None for no limit; `keys` or more to the left are no limit either."""
    left, right = sides_of(window_size)
    if left is not None and (left < 0 or (keys is not None and left >= keys)):
        left = None
    if causal:
        right = 0
    elif right is not None and (right < 0 or (keys is not None and right >= keys)):
        right = None
    return left, right


def signed_window_of(window_size: Any, causal: bool) -> tuple[Any, Any]:
    """window_of for version 4, where None is no limit and a negative number is a limit beyond the
    diagonal. If two numbers leave no key, both limits are dropped, except causal's."""
    left, right = sides_of(window_size)
    if causal:
        right = 0
    if left is not None and right is not None and left + right < 0:
        return None, (0 if causal else None)
    return left, right


def sides_of(window_size: Any) -> tuple[Any, Any]:
    """The two sides of a window; None for no limit."""
    try:
        left, right = window_size
        if not isinstance(left, float) and not isinstance(right, float):
            return (left if left is None else int(left)), (right if right is None else int(right))
    except (TypeError, ValueError):
        pass
    raise RefusedError(f"window_size is {window_size!r}; pass two integers, (left, right).")


def number_of(name: str, value: Any) -> float:
    """A value as a Python float."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RefusedError(f"{name} is {value!r}; pass a number.") from None


class Wanted(NamedTuple):
    """The arguments that functions share, by flash_attn's names and defaults."""

    dropout_p: float = 0.0
    softmax_scale: Any = None
    causal: bool = False
    window_size: Any = (-1, -1)
    softcap: float = 0.0
    alibi_slopes: Any = None
    deterministic: bool = False
    sinks: Any = None
    chunk: int = 0
    has_signed_window: bool = False
    diagonal: str | None = None

    def options(self) -> dict[str, Any]:
        """The options of tilewise.attention for these arguments, without what is off."""
        options: dict[str, Any] = {}
        if self.softmax_scale is not None:
            options["scale"] = number_of("softmax_scale", self.softmax_scale)
        meaning = signed_window_of if self.has_signed_window else window_of
        window = meaning(self.window_size, self.causal)
        if window == (None, 0):
            options["causal"] = True
        elif window != (None, None):
            options["window"] = window
        # Not "above 0", so that a NaN is refused.
        if self.softcap and not number_of("softcap", self.softcap) <= 0.0:
            options["softcap"] = float(self.softcap)
        if self.dropout_p:
            options["dropout"] = number_of("dropout_p", self.dropout_p)
        if self.alibi_slopes is not None:
            require_tensors(alibi_slopes=self.alibi_slopes)
            if self.alibi_slopes.dim() not in (1, 2):
                raise RefusedError(
                    f"alibi_slopes has shape {tuple(self.alibi_slopes.shape)}; it must be (heads) "
                    "or (batch, heads)."
                )
            options["alibi_slopes"] = self.alibi_slopes.detach()
        if self.deterministic:
            options["deterministic"] = True
        if self.sinks is not None:
            options["sinks"] = self.sinks
        if self.chunk:
            options["chunk"] = int(number_of("attention_chunk", self.chunk))
        if self.diagonal is not None:
            options["diagonal"] = self.diagonal
        return options


def bound_of(longest: Any, rows: Any) -> Any:
    """An upper bound of a length. A tensor on a GPU is not read, because the host would have to
    wait: `rows`, the number of all rows, is a bound, too."""
    if isinstance(longest, Tensor):
        if longest.is_cuda or torch.compiler.is_compiling():
            return rows
        if longest.numel() == 1:
            longest = longest.item()
    if longest is None or torch.compiler.is_compiling():
        return longest
    is_number = isinstance(longest, (numbers.Real, torch.SymInt))
    if not is_number or not longest >= 0:
        raise RefusedError(
            f"The longest sequence is given as {longest!r}; max_seqlen_q and max_seqlen_k must be "
            "integers from 0 on."
        )
    return max(int(longest), 1)


def require_floats(name: str, tensor: Any) -> None:
    """Refuses a tensor that is not of a float type, before anything is drawn or written."""
    require_tensors(**{name: tensor})
    if not tensor.is_floating_point():
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise RefusedError(
            f"{name} has dtype {dtype}; it must be float16, bfloat16, or, beyond flash_attn, "
            "float32 or float64."
        )


def has_turn(slopes: Tensor | None, window_size: Any, causal: bool, keys: Any) -> bool:
    """Whether flash_attn takes its causal kernel, which adds slope * j."""
    return slopes is not None and window_of(window_size, causal, keys) == (None, 0)


def dense_diagonals(queries: Any, keys: Any, device: Any) -> Tensor:
    """i + d of each query, if all sequences have these lengths."""
    return torch.arange(queries, device=device, dtype=torch.float32) + (keys - queries)


def cached_diagonals(queries: Any, key_lengths: Tensor) -> Tensor:
    """i + d of each query, (batch, queries), if sequences differ in their number of keys."""
    place = torch.arange(queries, device=key_lengths.device, dtype=torch.float32)
    return place + (key_lengths[:, None] - queries)


def packed_diagonals(tokens: Any, query_offsets: Tensor, key_lengths: Tensor) -> Tensor:
    """i + d of each packed token; any number for rows behind the last sequence."""
    place = torch.arange(tokens, device=query_offsets.device, dtype=query_offsets.dtype)
    sequence = torch.searchsorted(query_offsets, place, right=True) - 1
    sequence = sequence.clamp(max=max(key_lengths.shape[0] - 1, 0))
    lengths = query_offsets[1:] - query_offsets[:-1]
    shift = key_lengths - lengths - query_offsets[:-1]
    return (place + shift[sequence]).to(torch.float32)


def to_theirs(lse: Tensor, turn: Turn | None = None, is_packed: bool = False) -> Tensor:
    """tilewise's lse as flash_attn returns it, without a gradient."""
    lse = lse.detach()
    if turn is not None:
        lse = lse + turn.term(is_packed, lse.dtype)
    return torch.where(lse == -_INFINITY, _INFINITY, lse)


def to_ours(lse: Tensor, turn: Turn | None = None, is_packed: bool = False) -> Tensor:
    """flash_attn's lse, which may be merged from several parts, as tilewise's backward reads it."""
    if turn is not None:
        lse = lse - turn.term(is_packed, lse.dtype)
    return torch.where(lse == _INFINITY, -_INFINITY, lse)
