"""FlashAttention-3's names, computed by tilewise."""

from tilewise.flash_attn.flash_attn_3 import flash_attn_interface

__all__ = ["flash_attn_interface"]
