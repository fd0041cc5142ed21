"""FlashAttention-4's names, computed by tilewise."""

from tilewise.flash_attn.cute.interface import (
    flash_attn_combine,
    flash_attn_func,
    flash_attn_varlen_func,
)

__all__ = ["flash_attn_combine", "flash_attn_func", "flash_attn_varlen_func"]
