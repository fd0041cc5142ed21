"""enable: torch's own scaled_dot_product_attention becomes tilewise.sdpa.

The function that users call is a thin shell over an operator of torch's dispatcher. A new kernel
for that operator reaches every caller: code that imported the function before, torch's modules,
C++, and graphs that torch.compile traces from then on.
"""

from __future__ import annotations

import threading
import warnings
from typing import Any

import torch
from torch import Tensor

from tilewise.torch._plain import (
    is_compiling,
    is_dual,
    is_grad_enabled,
    is_plain,
    is_transformed,
)
from tilewise.torch._sdpa import sdpa

_NAME = "scaled_dot_product_attention"
# Keys above autograd for tensors with gradients, and below for those of inference mode.
_KEYS = ("AutogradCPU", "CPU", "AutogradCUDA", "CUDA")
_DTYPES = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))
_TAG = "tilewise"
_FORMULAS = 0  # SDPBackend.MATH

_lock = threading.RLock()
_holders: set[Enabled] = set()  # those of enable that nothing has undone yet
_library: Any = None
_originals: dict[str, Any] = {}
_before: dict[str, Any] = {}


class Enabled:
    """The result of enable: leaving its `with` undoes that enable and no other."""

    def __enter__(self) -> Enabled:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Undoes its enable, unless close or disable has done so before."""
        with _lock:
            if self in _holders:
                _holders.discard(self)
                if not _holders:
                    _uninstall()


def enable() -> Enabled:
    """From now on torch.nn.functional.scaled_dot_product_attention is tilewise.sdpa.

    It holds for the whole process and all its threads, until disable, or until the `with` ends. If
    enable is called several times, each `with` undoes only its own call, and disable undoes all:

        with tilewise.torch.enable():
            model(tokens)

    It reaches whoever calls the function under whatever name, inside nn.MultiheadAttention and
    nn.TransformerEncoderLayer (whose own fused kernel for inference is switched off meanwhile) and
    from C++, and what torch.compile traces while it is on. Graphs compiled before keep what they
    were traced with. A program of torch.export names torch's function, whenever it was exported,
    and runs tilewise if this is on while the program runs. torch's own function still computes what
    tilewise does not take, calls under sdpa_kernel([MATH]), and float64 with gradients on a GPU;
    the last two have gradients of second order there.
    """
    with _lock:
        if not _holders:
            _install()
        enabled = Enabled()
        _holders.add(enabled)
    return enabled


def disable() -> None:
    """Undoes every enable, so that torch's function is its own again."""
    with _lock:
        if _holders:
            _holders.clear()
            _uninstall()


def is_enabled() -> bool:
    """Whether torch's function is tilewise's now."""
    return bool(_holders)


def _install() -> None:
    global _library
    get_kernel = getattr(torch.library, "get_kernel", None)
    for key in _KEYS:
        if get_kernel is not None:
            _originals[key] = get_kernel(f"aten::{_NAME}", key)
    _library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is overridden is what was asked for
        for key in _KEYS:
            _library.impl(_NAME, _kernel_of(key), key, with_keyset=True)
    _before["fastpath"] = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    config: Any = getattr(torch.compiler, "config", None)
    if hasattr(config, "cache_key_tag"):  # what is compiled now is not for those who did not enable
        _before["tag"] = config.cache_key_tag
        config.cache_key_tag = _before["tag"] + _TAG


def _uninstall() -> None:
    global _library
    _library._destroy()
    _library = None
    _originals.clear()
    torch.backends.mha.set_fastpath_enabled(_before.pop("fastpath"))
    if "tag" in _before:
        torch.compiler.config.cache_key_tag = _before.pop("tag")


def _kernel_of(key: str) -> Any:
    def kernel(
        keys: Any,
        query: Tensor,
        key_: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        given = (query, key_, value, attn_mask, dropout_p, is_causal)
        named: dict[str, Any] = {"scale": scale}
        if enable_gqa:  # torch knows it from 2.5 on
            named["enable_gqa"] = True
        if _is_taken(query, key_, value) and not _is_by_formulas(query, key_, value, attn_mask):
            try:
                return _lying_as_torchs(sdpa(*given, **named), given, named)
            except (ValueError, TypeError, NotImplementedError):
                pass  # A refused call changes nothing: torch takes it, or says what is wrong.
        return _by_torch(key, keys, given, named)

    return kernel


def _lying_as_torchs(output: Tensor, given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """The output with torch's strides. On the processor torch's fused kernel and tilewise lay the
    output out like query; torch's formulas, which torch takes for dropout and some other calls,
    make it contiguous."""
    if (
        is_compiling()
        or output.is_contiguous()
        or output.device.type != "cpu"
        or not is_plain(*given[:3])
        or torch._fused_sdp_choice(*given, **named) != _FORMULAS
    ):
        return output
    return output.contiguous()


def _is_taken(query: Tensor, key: Tensor, value: Tensor) -> bool:
    dtype = query.dtype
    return (
        dtype in _DTYPES
        and key.dtype == dtype == value.dtype
        and not is_transformed()
        and not is_dual()
        and not _is_math_alone(query.device.type)
    )


def _is_by_formulas(query: Tensor, *others: Tensor | None) -> bool:
    """Whether to leave a call to torch's formulas, which have second-order gradients: float64 with
    gradients on a GPU. Not on the processor, where torch's own kernel has none either."""
    if query.dtype != torch.float64 or not query.is_cuda or not is_grad_enabled():
        return False
    return any(x is not None and x.requires_grad for x in (query, *others))


def _is_math_alone(device: str) -> bool:
    """Whether sdpa_kernel([SDPBackend.MATH]) or the like asks for torch's own formulas."""
    cuda = torch.backends.cuda
    if cuda.flash_sdp_enabled():
        return False
    if device == "cpu":  # it has no other kernel than flash
        return bool(cuda.math_sdp_enabled())
    return not (cuda.mem_efficient_sdp_enabled() or cuda.cudnn_sdp_enabled())


def _by_torch(key: str, keys: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Tensor:
    """torch's own kernel; before torch 2.9, which gives no access to it, torch's formulas."""
    original = _originals.get(key)
    if original is not None:
        found: Tensor = original.call_boxed(keys, *given, **named)
        return found
    *tensors, attn_mask, dropout_p, is_causal = given
    output, _ = torch.ops.aten._scaled_dot_product_attention_math(
        *tensors, attn_mask, dropout_p, is_causal, None, **named
    )
    return output
