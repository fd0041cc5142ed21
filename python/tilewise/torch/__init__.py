"""Tilewise for PyTorch, from 2.4 on: importing this imports torch, and nothing else here does.

attention is tilewise.attention for tensors: with gradients, under torch.compile, in a CUDA graph.
sdpa has the arguments and the meaning of torch.nn.functional.scaled_dot_product_attention, and
enable makes that function mean it.
"""

from tilewise.torch import _batching as _batching
from tilewise.torch import _caching as _caching
from tilewise.torch._arrays import TORCH
from tilewise.torch._attention import attention
from tilewise.torch._override import disable, enable, is_enabled
from tilewise.torch._sdpa import sdpa

TORCH.attention = attention

__all__ = ["TORCH", "attention", "disable", "enable", "is_enabled", "sdpa"]
