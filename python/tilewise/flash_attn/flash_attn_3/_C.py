"""Importing this defines torch.ops.flash_attn_3, as FlashAttention-3's _C does."""  # noqa: N999

from tilewise.flash_attn import _operators

_operators.define_all()
