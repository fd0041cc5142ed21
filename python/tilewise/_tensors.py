"""A self-check of tensors: tilewise.attention and its gradients against torch in float64."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from tilewise._checkup import TOLERANCES, Findings

_OPTIONS: list[dict[str, Any]] = [{}, {"causal": True, "diagonal": "top_left"}]


def check() -> Findings | str:
    """The findings; a sentence if torch does not run here."""
    if importlib.util.find_spec("torch") is None:
        return "not tried: there is no torch here"
    try:
        import tilewise.torch  # noqa: F401 - it refuses a torch that is too old
    except (ImportError, OSError) as error:
        return f"not tried: {type(error).__name__}: {error}"
    begin = time.perf_counter()
    calls, failures = 0, []
    for dtype in ("float64", "float32", "bfloat16"):
        for options in _OPTIONS:
            calls += 1
            failure = _try(calls, dtype, options)
            if failure:
                failures.append(failure)
    return Findings(calls, round(time.perf_counter() - begin, 3), failures)


def _try(seed: int, dtype: str, options: dict[str, Any]) -> str:
    """What is wrong with one call; "" if nothing is."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    import tilewise

    random = torch.Generator().manual_seed(seed)
    shapes = ((2, 33, 4, 16), (2, 47, 4, 16), (2, 47, 4, 16), (2, 33, 4, 16))
    *given, arriving = (
        torch.randn(*shape, generator=random).to(getattr(torch, dtype)) for shape in shapes
    )
    leaves = [x.clone().requires_grad_() for x in given]
    exact = [x.double().requires_grad_() for x in given]
    name = f"tensors of {dtype}, {options or 'no options'}"
    try:
        output = tilewise.attention(*leaves, **options)
        found = [output, *torch.autograd.grad(output, leaves, arriving)]
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        return f"{name}: {type(error).__name__}: {error}"
    with sdpa_kernel([SDPBackend.MATH]):
        output = torch.nn.functional.scaled_dot_product_attention(
            *(x.transpose(1, 2) for x in exact), is_causal="causal" in options
        ).transpose(1, 2)
        wanted = [output, *torch.autograd.grad(output, exact, arriving.double())]
    parts = ("output", *(f"the gradient of {part}" for part in ("query", "key", "value")))
    for part, result, right in zip(parts, found, wanted):
        right = right.detach()
        distance = float((result.detach().double() - right).abs().max() / right.abs().max())
        if not distance <= TOLERANCES[dtype]:
            return f"{name}: {part} is off by {distance:.1e}; {TOLERANCES[dtype]:.0e} is allowed"
    return ""
