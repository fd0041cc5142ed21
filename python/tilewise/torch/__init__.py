"""Tilewise for PyTorch, from 2.4 on. Importing this imports torch; importing tilewise does not.

attention is tilewise.attention for tensors: with gradients, under torch.compile, in a CUDA graph.
sdpa has the arguments and the meaning of torch.nn.functional.scaled_dot_product_attention, and
enable makes every call of that function one of sdpa.

On these stand FlashMHA, a module with its projections, with a Cache for generation;
RotaryEmbedding; block_sparse_attention; and unpad and pad, to and from packed tokens.
"""

from tilewise.torch import _batching as _batching
from tilewise.torch import _caching as _caching
from tilewise.torch import _flops as _flops
from tilewise.torch._arrays import TORCH
from tilewise.torch._attention import attention
from tilewise.torch._backward import attention_backward
from tilewise.torch._blocks import block_sparse_attention
from tilewise.torch._generation import Cache
from tilewise.torch._mha import FlashMHA
from tilewise.torch._override import disable, enable, is_enabled
from tilewise.torch._packing import Unpadded, pad, unpad
from tilewise.torch._probabilities import attention_probabilities
from tilewise.torch._rotation import RotaryEmbedding
from tilewise.torch._sdpa import sdpa
from tilewise.torch._slopes import standard_slopes

TORCH.attention = attention
TORCH.backward = attention_backward
TORCH.probabilities = attention_probabilities

__all__ = [
    "TORCH",
    "Cache",
    "FlashMHA",
    "RotaryEmbedding",
    "Unpadded",
    "attention",
    "block_sparse_attention",
    "disable",
    "enable",
    "is_enabled",
    "pad",
    "sdpa",
    "standard_slopes",
    "unpad",
]
