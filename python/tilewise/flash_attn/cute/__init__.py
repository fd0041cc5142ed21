"""FlashAttention-4's names, computed by tilewise."""

from _tilewise_stand_in import FLASH_ATTN_4_VERSION

from tilewise.flash_attn.cute.interface import (
    flash_attn_combine,
    flash_attn_func,
    flash_attn_varlen_func,
)

__version__ = FLASH_ATTN_4_VERSION

__all__ = ["flash_attn_combine", "flash_attn_func", "flash_attn_varlen_func"]
