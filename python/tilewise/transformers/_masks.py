"""Masks that are a band and padding, without their matrix.

Transformers asks a mask function for a bool tensor (batch, 1, queries, keys). Most such masks are
causal, perhaps with a window, or two-sided, and hide padding: for tilewise that is two numbers and
a row of bools for each sequence, which a BandMask holds. Code that does more with a BandMask than
pass it on or ask for its shape, dtype or device gets the bool tensor.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel, masking_utils

from tilewise.torch._plain import is_compiling, is_transformed, is_watched


class Band(NamedTuple):
    """Query i sees key j where -left <= j - i - shift <= right; None: that side has no limit."""

    left: int | None
    right: int | None
    shift: int


is_dynamo_compiling = torch.compiler.is_dynamo_compiling
_QUESTIONS = frozenset(
    (
        Tensor.dim,
        Tensor.size,
        Tensor.is_floating_point,
        *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "requires_grad")),
    )
)


class BandMask(Tensor):
    """A bool tensor (batch, 1, queries, keys) that is made when an operation other than _QUESTIONS
    and device needs it.

    Once `made` is set, it is the mask, because it may have been written to.
    """

    band: Band
    padding: Tensor | None  # (batch, keys); True: this key counts
    place: torch.device
    made: Tensor | None

    @staticmethod
    def of(shape: tuple[int, int, int], band: Band, padding: Tensor | None, place: Any) -> BandMask:
        """The BandMask (batch, 1, queries, keys) for `shape` = (batch, queries, keys)."""
        batch, queries, keys = shape
        # Has no memory, so that code below Python that would read it cannot.
        blank = torch.empty((batch, 1, queries, keys), dtype=torch.bool, device="meta")
        mask: BandMask = blank.as_subclass(BandMask)
        mask.band, mask.padding, mask.place = band, padding, torch.device(place)
        mask.made = None
        return mask

    def full(self) -> Tensor:
        """The tensor, the same one each time."""
        if self.made is not None:
            return self.made
        made = self._make()
        # A tensor of a mode or of torch.func is not kept, because it must not outlive them.
        if is_dynamo_compiling() or (type(made) is Tensor and not is_transformed()):
            self.made = made
        return made

    def _make(self) -> Tensor:
        batch, _, queries, keys = self.shape
        left, right, shift = self.band
        distance = torch.arange(keys, device=self.place)
        distance = distance - torch.arange(shift, shift + queries, device=self.place)[:, None]
        seen = torch.ones((queries, keys), dtype=torch.bool, device=self.place)
        if left is not None:
            seen = seen & (distance >= -left)
        if right is not None:
            seen = seen & (distance <= right)
        if self.padding is None:
            return seen.expand(batch, 1, queries, keys)
        return seen & self.padding[:, None, None, :]

    def options(self) -> dict[str, Any]:
        """The mask as options of tilewise.attention."""
        left, right, shift = self.band
        options: dict[str, Any] = {}
        if left is not None or right is not None:
            options = {"window": (left, right), "diagonal": shift}
        if self.padding is not None:
            options["mask"] = self.padding[:, None, None, :]
        return options

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answers questions about the mask; for everything else it makes the tensor."""
        given = kwargs or {}
        if args and type(args[0]) is BandMask and args[0].made is None:
            if func is Tensor.device.__get__:
                return args[0].place
            if func in _QUESTIONS:
                with torch._C.DisableTorchFunctionSubclass():
                    return func(*args, **given)
        made = torch.utils._pytree.tree_map_only(BandMask, BandMask.full, (args, given))
        return func(*made[0], **made[1])


_answers: weakref.WeakKeyDictionary[type, bool] = weakref.WeakKeyDictionary()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def needs_eager_masks(config: type) -> bool:
    """Whether Transformers' own models with this type of configuration need eager_mask's masks.

    Their classes say so: they support neither SDPA, nor custom attention functions together with
    flash or flex attention. Such a model may have causality in its mask and not in its modules, add
    numbers to the mask, or add the mask to scores that it computes itself. What other packages
    define changes no answer: a type that extends one of Transformers has that one's, and any other
    type needs no such masks.
    """
    found = _answers.get(config)
    if found is not None:
        return found
    for each in config.__mro__:
        if each.__module__ == "transformers.configuration_utils":
            break  # the base of all configurations says nothing about a model
        if not _is_of_transformers(each):
            continue
        models = [model for model in _models_of(PreTrainedModel) if each in _configs_of(model)]
        if models:
            _answers[config] = not any(_takes_other_masks(model) for model in models)
            return _answers[config]
    return False  # not kept: the module of its models may be imported later


def _takes_other_masks(model: Any) -> bool:
    if model._supports_sdpa:
        return True
    has_other = model._supports_flash_attn or model._supports_flex_attn
    return bool(model._supports_attention_backend and has_other)


def _configs_of(model: Any) -> tuple[Any, ...]:
    """The types in config_class, which may be a union."""
    return get_args(model.config_class) or (model.config_class,)


def _models_of(base: Any) -> Iterator[Any]:
    """The classes of Transformers itself that extend this one."""
    for model in base.__subclasses__():
        if _is_of_transformers(model):
            yield model
            yield from _models_of(model)


def _is_of_transformers(kind: type) -> bool:
    return kind.__module__.startswith("transformers.")


def mask_of(*given: Any, **named: Any) -> Tensor | None:
    """The mask function of tilewise, with the arguments of transformers.masking_utils.sdpa_mask.

    Returns None if nothing is hidden, or only what causality from the first query and key on hides;
    a BandMask if a band and padding describe the mask; otherwise what sdpa_mask makes. Models that
    need eager's masks get what eager_mask makes.
    """
    if needs_eager_masks(type(named.get("config"))):
        numbers: Tensor | None = masking_utils.eager_mask(*given, **named)
        return numbers
    is_eager = not (given or is_compiling() or is_watched())
    is_known = is_eager and type(named.get("q_length")) is int and named["q_length"] > 1
    sides = _sides_of(named.get("mask_function")) if is_known else None
    offsets = named.get("q_offset", 0), named.get("kv_offset", 0)
    padding = named.get("attention_mask")
    if (
        sides is None
        or any(type(offset) is not int for offset in offsets)  # a static cache has tensors
        or not (padding is None or type(padding) is Tensor)
    ):
        made: Tensor | None = masking_utils.sdpa_mask(*given, **named)
        return made
    queries, keys, place = named["q_length"], named["kv_length"], named.get("device", "cpu")
    left, right = sides
    shift, first = offsets[0] - offsets[1], offsets[1]
    if left is not None and left >= shift + queries - 1:
        left = None  # longer than any distance
    if padding is not None:
        padding = padding[:, first : first + keys].to(torch.bool)
        padding = torch.nn.functional.pad(padding, (0, keys - padding.shape[1]))
        padding = None if bool(padding.all()) else padding
    if padding is None and left is None:
        if right == 0 and shift == 0 and named.get("allow_is_causal_skip", True):
            return None
        if right is None and named.get("allow_is_bidirectional_skip", False):
            return None
    band = Band(left, right, shift)
    return BandMask.of((named["batch_size"], queries, keys), band, padding, place)


def _sides_of(mask_function: Any) -> tuple[int | None, int | None] | None:
    """How far a query sees to either side by this function of Transformers; None for others."""
    causal = getattr(masking_utils, "causal_mask_function", None)
    around = getattr(masking_utils, "bidirectional_mask_function", None)
    if mask_function is None:
        return None
    if mask_function is causal:
        return None, 0
    if mask_function is around:
        return None, None
    parts = _held(mask_function, "and_masks", "mask_functions")
    if not isinstance(parts, tuple) or len(parts) != 2:
        return None
    overlay, rest = parts
    window = _held(overlay, "sliding_window_overlay", "sliding_window")
    if rest is causal and type(window) is int:
        return window - 1, 0
    window = _held(overlay, "sliding_window_bidirectional_overlay", "sliding_window")
    if rest is around and type(window) is int:
        return window, window
    return None


def _held(function: Any, maker: str, name: str) -> Any:
    """The variable `name` that a function made by `maker` holds; None for other functions."""
    code = getattr(function, "__code__", None)
    made_by = getattr(getattr(masking_utils, maker, None), "__code__", None)
    if code is None or not any(code is constant for constant in getattr(made_by, "co_consts", ())):
        return None
    cells = dict(zip(code.co_freevars, function.__closure__ or ()))
    return cells[name].cell_contents if name in cells else None
