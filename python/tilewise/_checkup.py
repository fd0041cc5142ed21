"""A self-check of a second: attention and its gradients against the formula in float64.

It finds a library that does not work here at all: a wrong build, a wrong machine, another version's
structs. The thorough check is `tilewise check`, of the command line.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import tilewise
from tilewise import planning

# The largest error allowed, relative to the largest result.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
_OPTIONS: list[dict[str, Any]] = [
    {},
    {"causal": True},
    {"window": (9, 3), "scale": 0.2},
    {"softcap": 2.0},
    {"causal": True, "alibi_slopes": [0.5, 0.25, 0.125, 0.0625]},
]
_SIZES = [(33, 47, 16), (5, 130, 64), (64, 64, 40)]  # queries, keys, head dim
_HEADS, _KEY_HEADS = 4, 2


class Findings(NamedTuple):
    """How many calls were tried, and a sentence for each that was wrong.

    left_out has a sentence for each device whose calls cannot run, which is not counted as wrong.
    """

    calls: int
    seconds: float
    failures: list[str]
    left_out: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The findings in one sentence."""
        wrong = f"{len(self.failures)} are WRONG" if self.failures else "all are exact"
        return f"{self.calls} calls with their gradients in {self.seconds:.1f} s: {wrong}"


def check(seconds: float, devices: Sequence[str] = ("cpu",)) -> Findings:
    """Tries calls for about this long, each case at most once, and at least one call.

    On a GPU it makes one call for each option in float32 and float16, however long they compile.
    """
    begin = time.perf_counter()
    failures, calls = [], 0
    refusals = {device: _why_not(device) for device in devices if device != "cpu"}
    there = [{"device": device} for device, refusal in refusals.items() if not refusal]
    few = itertools.product(_SIZES[:1], ("float32", "float16"), _OPTIONS, there)
    here = itertools.product(_SIZES, TOLERANCES, _OPTIONS, [{}])
    for seed, (size, dtype, plain, place) in enumerate(itertools.chain(few, here)):
        options: dict[str, Any] = {**plain, **place}
        if calls and not place and time.perf_counter() - begin > seconds:
            break
        failure = _try(seed, size, dtype, options)
        if failure is None:
            continue
        calls += 1
        if failure:
            failures.append(failure)
    left_out = (f"{device}: {refusal}" for device, refusal in refusals.items() if refusal)
    return Findings(calls, round(time.perf_counter() - begin, 3), failures, tuple(left_out))


def _why_not(device: str) -> str:
    """Why calls cannot run on a device, as a sentence; "" if they can."""
    queries, keys, dim = _SIZES[0]
    shapes = (1, queries, _HEADS, dim), (1, keys, _KEY_HEADS, dim), (1, keys, _KEY_HEADS, dim)
    for dtype, options in itertools.product(("float32", "float16"), _OPTIONS):
        for operation in ("forward", "backward"):
            try:
                planning.make_ready(
                    *shapes, dtype=dtype, operation=operation, device=device, **options
                )
            except (NotImplementedError, RuntimeError) as error:
                return str(error)
    return ""


def _try(seed: int, size: tuple[int, int, int], dtype: str, options: dict[str, Any]) -> str | None:
    """What is wrong with one call; "" if nothing is, None if this Python lacks the type."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        try:
            import ml_dtypes
        except ImportError:
            return None
        kind = np.dtype(getattr(ml_dtypes, dtype))
    queries, keys, dim = size
    random = np.random.default_rng(seed)
    query, arriving = (random.standard_normal((1, queries, _HEADS, dim)).astype(kind) for _ in "qa")
    key, value = (random.standard_normal((1, keys, _KEY_HEADS, dim)).astype(kind) for _ in "kv")
    name = f"{dtype}, {queries} queries, {keys} keys, dim {dim}, {options or 'no options'}"
    try:
        output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
        more = {"slopes_gradient": False, **options}
        found = tilewise.attention_backward(arriving, query, key, value, output, lse, **more)
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        return f"{name}: {type(error).__name__}: {error}"
    results = {"output": output, "lse": lse}
    results.update(query=found.query, key=found.key, value=found.value)
    wanted = by_formula(arriving, query, key, value, options)
    for part, result in results.items():
        distance = _distance(np.asarray(result, np.float64), wanted[part])
        if not distance <= TOLERANCES[dtype]:
            whose = part if part in ("output", "lse") else f"the gradient of {part}"
            return f"{name}: {whose} is off by {distance:.1e}; {TOLERANCES[dtype]:.0e} is allowed"
    return ""


def _distance(found: Any, wanted: Any) -> float:
    """The largest difference over the largest wanted number; NaN if an array has a NaN."""
    is_hidden = np.isneginf(wanted)
    if not np.array_equal(np.isneginf(found), is_hidden):
        return float("inf")
    found, wanted = np.where(is_hidden, 0, found), np.where(is_hidden, 0, wanted)
    return float(np.max(np.abs(found - wanted)) / max(float(np.max(np.abs(wanted))), 1e-30))


def by_formula(
    arriving: Any, query: Any, key: Any, value: Any, options: dict[str, Any]
) -> dict[str, Any]:
    """Output, lse and three gradients, with the whole matrix of scores."""
    group = query.shape[2] // key.shape[2]
    a, q, k, v = (
        np.asarray(x, np.float64)[0].swapaxes(0, 1) for x in (arriving, query, key, value)
    )
    k, v = np.repeat(k, group, 0), np.repeat(v, group, 0)
    scale = options.get("scale", query.shape[3] ** -0.5)
    score = scale * q @ k.swapaxes(1, 2)
    slope = np.ones_like(score)  # the derivative of what happens to a score
    if "softcap" in options:
        capped = np.tanh(score / options["softcap"])
        score, slope = options["softcap"] * capped, 1 - capped**2
    rows, columns = np.arange(score.shape[1])[:, None], np.arange(score.shape[2])
    distance = columns - rows - (score.shape[2] - score.shape[1])
    if "alibi_slopes" in options:
        score = score - np.asarray(options["alibi_slopes"])[:, None, None] * np.abs(distance)
    left, right = options.get("window", (None, None))
    right = 0 if options.get("causal") else right
    hidden = np.zeros(distance.shape, bool)
    hidden |= distance < -left if left is not None else False
    hidden |= distance > right if right is not None else False
    score = np.where(hidden, -np.inf, score)
    most = np.max(score, 2, keepdims=True)
    most = np.where(np.isneginf(most), 0, most)
    weight = np.exp(score - most)
    total = weight.sum(2, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (most + np.log(total))[None, :, :, 0]
    weight = weight / np.where(total == 0, 1, total)
    output = weight @ v
    arrived = a @ v.swapaxes(1, 2) - (a * output).sum(2, keepdims=True)
    arrived = scale * weight * arrived * slope
    shares = {
        "query": arrived @ k,
        "key": _grouped(arrived.swapaxes(1, 2) @ q, group),
        "value": _grouped(weight.swapaxes(1, 2) @ a, group),
        "output": output,
    }
    return {"lse": lse, **{name: x.swapaxes(0, 1)[None] for name, x in shares.items()}}


def _grouped(gradient: Any, group: int) -> Any:
    """A gradient summed over the query heads that share a key head."""
    return gradient.reshape(-1, group, *gradient.shape[1:]).sum(1)
