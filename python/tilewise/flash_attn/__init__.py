"""The names of the flash_attn package, version 2.8, computed by tilewise.

    from tilewise.flash_attn import flash_attn_func

takes the place of `from flash_attn import flash_attn_func`; so do the submodules: bert_padding,
flash_attn_interface, layers.rotary, modules.mha. FlashAttention-3's interface is in flash_attn_3,
that of FlashAttention-4 in cute. install() makes `import flash_attn` itself mean this package, for
programs that you do not want to touch, and so does `python -m tilewise.flash_attn script.py`.
docs/drop-in.md says what differs.

Torch is imported when a function is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from _tilewise_stand_in import FLASH_ATTN_VERSION
from _tilewise_stand_in import install as install
from _tilewise_stand_in import is_installed as is_installed
from _tilewise_stand_in import uninstall as uninstall

if TYPE_CHECKING:
    from tilewise.flash_attn.flash_attn_interface import (
        flash_attn_func,
        flash_attn_kvpacked_func,
        flash_attn_qkvpacked_func,
        flash_attn_varlen_func,
        flash_attn_varlen_kvpacked_func,
        flash_attn_varlen_qkvpacked_func,
        flash_attn_with_kvcache,
    )

__version__ = FLASH_ATTN_VERSION

# What `from flash_attn import *` brings: the same names as in the original package.
__all__ = [
    "flash_attn_func",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
]
_MORE = [
    "flash_attn_interface",
    "flash_attn_unpadded",
    "flash_attn_unpadded_func",
    "flash_attn_unpadded_kvpacked_func",
    "flash_attn_unpadded_qkvpacked_func",
    "flash_attn_unpadded_qkvpacked_split_func",
]
_HELPERS = {"Any", "FLASH_ATTN_VERSION", "TYPE_CHECKING", "annotations", "importlib"}


def __getattr__(name: str) -> Any:
    if name not in __all__ and name not in _MORE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    interface = importlib.import_module("tilewise.flash_attn.flash_attn_interface")
    if name == "flash_attn_interface":
        return interface
    globals()[name] = getattr(interface, name)
    return globals()[name]


def __dir__() -> list[str]:
    names = {*globals(), *__all__, *_MORE} - _HELPERS
    return sorted(name for name in names if name[0] != "_" or name.startswith("__"))
