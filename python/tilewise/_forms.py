"""Options that are not arrays, checked once for each combination and kept as the structs they make.

A call then pays for its options with one look into a table.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

from tilewise import _abi, _device
from tilewise import _arguments as check
from tilewise._slots import NUMBERS, SLOTS, Form
from tilewise.options import DEFAULTS

LARGEST_SEED = 2**64 - 1
_MOST = 1024  # combinations that are kept; numbers that change with each call must not pile up
_OTHERS = (  # neither an array nor a number that goes to its place as it is
    "scale",
    "causal",
    "window",
    "diagonal",
    "block_size",
    "dropout_base",
    "deterministic",
    "threads",
    "device",
)
_SCALARS = frozenset((*NUMBERS, *_OTHERS))
_SEEDS = ("seed", "dropout_offset")  # change with each call, so they stay outside
KNOWN = (*NUMBERS, *_OTHERS, *_SEEDS, *SLOTS)
_DIAGONALS = {"bottom_right": _abi.Diagonal.BOTTOM_RIGHT, "top_left": _abi.Diagonal.TOP_LEFT}


class Asked(NamedTuple):
    """A call's options. `form`: those in `scalars`, as the bytes of the struct Form. `arrays`, by
    name: the options that are arrays, seed and dropout_offset."""

    form: bytes
    arrays: dict[str, Any]
    dropout: float
    has_blocks: bool
    scalars: dict[str, Any]
    device: str


_forms: dict[tuple[Any, ...], tuple[bytes, float, bool]] = {}


def ask(options: Mapping[str, Any], output_dtype: int = 0) -> Asked:
    """`options` as Asked, with every number checked. Refuses an unknown name, and says the nearest
    known one."""
    if not options and not output_dtype:
        return _PLAIN
    key: tuple[Any, ...] = (output_dtype,)
    scalars: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for name, value in options.items():
        if name in SLOTS or name in _SEEDS:
            if value is not None:
                arrays[name] = value
            continue
        if name not in _SCALARS:
            raise TypeError(f"{name} is no option of attention{_nearest(name)}")
        scalars[name] = value
        # 1, 1.0 and True are the same key of a dict, but the checks tell them apart.
        kinds = tuple(map(type, value)) if type(value) is tuple else type(value)
        key += (name, value, kinds)
    try:
        made = _forms.get(key)
    except TypeError:  # a list in the place of a tuple has no hash
        made, key = None, ()
    if made is None:
        made = _build(scalars, output_dtype)
        if key:
            if len(_forms) >= _MOST:
                _forms.clear()
            _forms[key] = made
    form, dropout, has_blocks = made
    if arrays or has_blocks:
        _check_together(arrays, has_blocks)
    return Asked(form, arrays, dropout, has_blocks, scalars, scalars.get("device", "cpu"))


def _nearest(name: str) -> str:
    close = difflib.get_close_matches(name, KNOWN, n=1)
    return f"; did you mean {close[0]}?" if close else "; help(tilewise.Options) lists them."


def _check_together(arrays: dict[str, Any], has_blocks: bool) -> None:
    if has_blocks and "block_mask" not in arrays:
        raise ValueError("block_size is given without a block_mask; give both or neither.")
    if "block_mask" in arrays and not has_blocks:
        raise ValueError("block_mask is given without block_size; add block_size=(queries, keys).")
    for name in _SEEDS:
        if name in arrays:
            arrays[name] = check.integer(name, arrays[name], 0, LARGEST_SEED)
    if "dropout_state" in arrays and ("seed" in arrays or arrays.get("dropout_offset", 0) != 0):
        raise ValueError(
            "dropout_state is given beside seed or dropout_offset; it holds both, so give it alone."
        )


def _build(scalars: dict[str, Any], output_dtype: int) -> tuple[bytes, float, bool]:
    """The form, dropout's probability, and whether it has block sizes."""
    given = scalars.get
    form = Form(output_dtype=output_dtype)
    form.deterministic = check.flag("deterministic", given("deterministic", False))
    form.threads = check.integer("threads", given("threads", 0), 0, 2**31 - 1)
    for name in NUMBERS:
        _fill_number(form, name, scalars)
    _fill_mask(form.mask, scalars)
    if given("scale") is not None:
        form.scores.has_scale, form.scores.scale = 1, check.real("scale", given("scale"))
        form.scores.size = _size(_abi.Scores)
    _device.parsed(given("device", "cpu"))
    base = check.sequence("dropout_base", given("dropout_base", (0, 0, 0, 0)), 4)
    form.dropout.base[:] = [check.integer("dropout_base", part) for part in base]
    return bytes(form), form.dropout.probability, given("block_size") is not None


def _fill_number(form: Form, name: str, scalars: dict[str, Any]) -> None:
    place, default = NUMBERS[name], DEFAULTS.get(name)
    given = scalars.get(name, default)
    if given is None and default is None:
        return
    number = place.check(name, given)
    part = getattr(form, place.part)
    setattr(part, place.member, number)
    if number != 0:
        part.size = _size(type(part))


def _size(part: type[Any]) -> int:
    size: int = part().size
    return size


def _fill_mask(mask: Any, scalars: dict[str, Any]) -> None:
    left, right = _window(scalars)
    if left is not None:
        mask.has_left, mask.left = 1, left
    if right is not None:
        mask.has_right, mask.right = 1, right
    mask.diagonal, mask.shift = _diagonal(scalars.get("diagonal", "bottom_right"))
    if scalars.get("block_size") is not None:
        sizes = check.sequence("block_size", scalars["block_size"], 2)
        mask.block_query, mask.block_key = (
            check.integer("block_size", size, 0, 2**31 - 1) for size in sizes
        )
    # With a block mask the struct is there already; a block size without one is refused.
    if mask.has_left or mask.has_right or mask.diagonal:
        mask.size = _size(_abi.Mask)


def _window(scalars: dict[str, Any]) -> tuple[int | None, int | None]:
    left, right = (None, None)
    if scalars.get("window") is not None:
        left, right = (
            None if side is None else check.integer("window", side)
            for side in check.sequence("window", scalars["window"], 2)
        )
    given = f"window is {(left, right)}"
    if check.flag("causal", scalars.get("causal", False)):
        right = 0 if right is None else min(right, 0)
        given += " and causal is True"
    if left is not None and right is not None and left + right < 0:
        raise ValueError(
            f"{given}, which hides every key. A side without a limit is None here, not -1: (None, "
            "None) is no window, (None, 0) is causal. A negative number moves that edge past the "
            "diagonal, so left + right must be at least 0."
        )
    return left, right


def _diagonal(diagonal: object) -> tuple[int, int]:
    """The kind of diagonal and its shift."""
    if not isinstance(diagonal, str):
        return _abi.Diagonal.SHIFTED, check.integer("diagonal", diagonal)
    if diagonal not in _DIAGONALS:
        raise ValueError(
            f"diagonal is {diagonal!r}; it must be 'bottom_right', 'top_left' or an integer."
        )
    return _DIAGONALS[diagonal], 0


# The answer for no options. Nobody adds to its arrays, since without dropout no seed is drawn.
_PLAIN = Asked(_build({}, 0)[0], {}, 0.0, False, {}, "cpu")
