"""The names of the flash_attn package, version 2.8, computed by tilewise.

    from tilewise.flash_attn import flash_attn_func

takes the place of `from flash_attn import flash_attn_func`; so do the submodules: bert_padding,
flash_attn_interface, layers.rotary, modules.mha. FlashAttention-3's interface is in flash_attn_3,
that of FlashAttention-4 in cute. install() makes `import flash_attn` itself mean this package, for
programs that you do not want to touch, and so does `python -m tilewise.flash_attn script.py`.
docs/drop-in.md says what differs.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from tilewise._stand_in import FLASH_ATTN_VERSION, install, is_installed, uninstall
from tilewise.flash_attn import generation
from tilewise.flash_attn.flash_attn_interface import (
    flash_attn_func,
    flash_attn_kvpacked_func,
    flash_attn_qkvpacked_func,
    flash_attn_unpadded,
    flash_attn_unpadded_func,
    flash_attn_unpadded_kvpacked_func,
    flash_attn_unpadded_qkvpacked_func,
    flash_attn_unpadded_qkvpacked_split_func,
    flash_attn_varlen_func,
    flash_attn_varlen_kvpacked_func,
    flash_attn_varlen_qkvpacked_func,
    flash_attn_with_kvcache,
)

__version__ = FLASH_ATTN_VERSION

__all__ = [
    "__version__",
    "flash_attn_func",
    "flash_attn_kvpacked_func",
    "flash_attn_qkvpacked_func",
    "flash_attn_unpadded",
    "flash_attn_unpadded_func",
    "flash_attn_unpadded_kvpacked_func",
    "flash_attn_unpadded_qkvpacked_func",
    "flash_attn_unpadded_qkvpacked_split_func",
    "flash_attn_varlen_func",
    "flash_attn_varlen_kvpacked_func",
    "flash_attn_varlen_qkvpacked_func",
    "flash_attn_with_kvcache",
    "install",
    "is_installed",
    "uninstall",
]


def _add_generation() -> None:
    """flash_attn.utils.generation: a folder of that name would say nothing of what is inside."""
    name = f"{__name__}.utils"
    folder = ModuleType(name, "Holds generation.")
    folder.__path__ = []
    folder.__spec__ = ModuleSpec(name, None, is_package=True)
    folder.__dict__["generation"] = generation
    sys.modules[name], sys.modules[f"{name}.generation"] = folder, generation
    globals()["utils"] = folder


_add_generation()
