"""Checks of plain Python arguments: the right kind of value, in the range that C can hold."""

from __future__ import annotations

import numbers
import operator
from typing import Any

import numpy as np


def integer(name: str, value: Any, low: int = -(2**63), high: int = 2**63 - 1) -> int:
    """`value` as an int between `low` and `high`, by default what 64 bits with a sign hold."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value}; it must be an integer.")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a {type(value).__name__}; it must be an integer.") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; it must lie between {low} and {high}.")
    return number


def real(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, np.floating)):
        raise TypeError(f"{name} is a {type(value).__name__}; it must be a real number.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """`value` as a bool; takes bools, and 0 and 1, which C and NumPy write for them."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        if value in (0, 1):
            return bool(value)
        raise ValueError(f"{name} is {value}; it must be True or False.")
    raise TypeError(f"{name} is a {type(value).__name__}; it must be True or False.")


def sequence(name: str, value: Any, length: int) -> tuple[Any, ...]:
    """`value` as a tuple of `length` items."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(
            f"{name} is a {type(value).__name__}; it must be a tuple of {length} items."
        )
    if len(value) != length:
        raise ValueError(f"{name} has {len(value)} items; it must have {length}.")
    return tuple(value)
