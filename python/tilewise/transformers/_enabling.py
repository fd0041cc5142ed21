"""enable: the name "tilewise" for Transformers, and the spellings of older guides."""

from __future__ import annotations

from typing import Any

from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from tilewise.transformers._attention import NAME, attention_forward
from tilewise.transformers._masks import mask_of

_OLD_SWITCHES = ("flash_attn_2", "use_flash_attention_2")
_METHODS = ("from_pretrained", "_from_config")
_before: dict[str, Any] = {}


def enable() -> None:
    """From now on from_pretrained and from_config take attn_implementation="tilewise", and
    model.set_attn_implementation takes "tilewise".

    The spellings of older guides work, too: model.enable_flash_attention(), and flash_attn_2=True
    or use_flash_attention_2=True for from_pretrained and from_config.

    >>> import tilewise.transformers, transformers
    >>> tilewise.transformers.enable()
    >>> config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16)
    >>> model = transformers.GPT2LMHeadModel(config)
    >>> model.set_attn_implementation("tilewise")
    >>> model.config._attn_implementation
    'tilewise'
    """
    AttentionInterface.register(NAME, attention_forward)
    AttentionMaskInterface.register(NAME, mask_of)
    if _before:
        return
    for name in _METHODS:
        _before[name] = PreTrainedModel.__dict__[name]
        setattr(PreTrainedModel, name, classmethod(_with_old_switches(_before[name].__func__)))
    PreTrainedModel.enable_flash_attention = _enable_flash_attention


def disable() -> None:
    """Undoes enable. Models that were told to take tilewise meanwhile cannot run any more."""
    for interface in (AttentionInterface, AttentionMaskInterface):
        interface._global_mapping.pop(NAME, None)
    if not _before:
        return
    for name in _METHODS:
        setattr(PreTrainedModel, name, _before.pop(name))
    del PreTrainedModel.enable_flash_attention


def is_enabled() -> bool:
    """Whether Transformers knows the name now."""
    return bool(_before)


def _enable_flash_attention(self: Any) -> Any:
    """model.enable_flash_attention(): the model takes tilewise from now on. Returns the model."""
    self.set_attn_implementation(NAME)
    return self


def _with_old_switches(function: Any) -> Any:
    """The class method, with the old switches added."""

    def method(cls: Any, *arguments: Any, **given: Any) -> Any:
        is_asked = [given.pop(name, False) for name in _OLD_SWITCHES]
        if any(is_asked):  # also beside another name, which AutoModel has put into config already
            given["attn_implementation"] = NAME
        return function(cls, *arguments, **given)

    method.__name__, method.__doc__ = function.__name__, function.__doc__
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method
