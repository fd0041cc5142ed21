"""Attention for JAX: jax.nn.dot_product_attention by its own arguments, with gradients.

It works inside of jax.jit, jax.vmap, jax.grad and jax.checkpoint, on the processor and on CUDA, on
arrays that are sharded by batch and by heads. attention has some of the options of
tilewise.attention. docs/drop-in.md says more.
"""

from __future__ import annotations

from tilewise.jax._attention import attention
from tilewise.jax._dot_product import dot_product_attention

__all__ = ["attention", "dot_product_attention"]
