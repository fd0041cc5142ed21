"""Importing it defines torch.ops.flash_attn_3, as their compiled part does."""  # noqa: N999

from tilewise.flash_attn import _operators

_operators.define_all()
