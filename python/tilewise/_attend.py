"""Attention and its gradients on one framework's arrays, by the quick way or the slower one."""

from __future__ import annotations

from ctypes import pointer
from typing import Any, NamedTuple

from tilewise import _abi, _quick
from tilewise import _arguments as check
from tilewise._call import Call, Operands, new_seed
from tilewise._forms import Asked
from tilewise._frameworks import Fill, Framework, require_floats

# Flags of a call besides its form: the extension's own flags, and above them the threads.
HEADS_FIRST, GROUPED, DETERMINISTIC, THREADS_SHIFT = 1, 2, 4, 8
FORWARD, BACKWARD = _abi.Operation.FORWARD, _abi.Operation.BACKWARD


class Gradients(NamedTuple):
    """What attention_backward returns; None for a gradient not asked for or of an absent input."""

    query: Any = None
    key: Any = None
    value: Any = None
    bias: Any = None
    slopes: Any = None
    sinks: Any = None


class Read(NamedTuple):
    """What backward reads besides what forward read."""

    output_gradient: Any
    output: Any
    lse: Any
    lse_gradient: Any = None


class Places(NamedTuple):
    """Where a call puts its results, and its workspace: the caller's arrays, or None for new ones.

    lse: None for none, True for a new one, which is returned beside the output.
    """

    out: Any = None
    lse: Any = None
    workspace: Any = None


def attend(
    framework: Framework, operands: Any, asked: Asked, places: Places, flags: int = 0
) -> Any:
    """The output, or (output, lse). `flags`, the extension's, say how rows lie."""
    out, lse, workspace = places
    flags |= framework.threads() << THREADS_SHIFT
    arrays = asked.arrays
    if asked.dropout and "seed" not in asked.arrays and "dropout_state" not in asked.arrays:
        asked.arrays["seed"] = new_seed()
    is_here = workspace is None and asked.device == "cpu"
    if is_here and _quick.extension is not None:
        pairs = _quick.pairs(arrays) if arrays else None
        found = _quick.extension.forward(asked.form, flags, *operands, out, lse, pairs)
        if found is not NotImplemented:
            return found
    return _attend_slowly(framework, Operands(*operands), asked, places, flags)


def _attend_slowly(
    framework: Framework, operands: Operands, asked: Asked, places: Places, flags: int
) -> Any:
    out, lse, workspace = places
    like = operands.query
    is_swapped = bool(flags & HEADS_FIRST)
    if is_swapped:
        operands = Operands(*map(framework.swapped, operands))
        out = None if out is None else framework.swapped(out)
    call = Call(framework, asked, operands, flags >> THREADS_SHIFT)
    output = call.new_output() if out is None else out
    call.request.output = call.borrow.output("out", output)
    row = call.new_lse() if lse is True else lse
    if row is not None:
        call.request.lse = call.borrow.output("lse", row)
    call.run("tw_forward", FORWARD, workspace)
    if out is None:
        output = framework.finished(output, like)
    output = framework.swapped(output) if is_swapped else output
    return (output, framework.finished(row, like)) if lse is True else output


def differentiate(
    framework: Framework,
    operands: Operands,
    asked: Asked,
    read: Read,
    wanted: int,
    flags: int = 0,
) -> Gradients:
    """New arrays for the gradients in `wanted`, which has a bit for each."""
    flags |= framework.threads() << THREADS_SHIFT
    found: Any = NotImplemented
    if asked.device == "cpu" and _quick.extension is not None:
        found = _quick_gradients(operands, asked, read, wanted, flags)
    if found is NotImplemented:
        return differentiate_into(framework, operands, asked, read, wanted, Places(), flags)
    return Gradients(*found)


def differentiate_anyhow(
    framework: Framework,
    operands: Operands,
    asked: Asked,
    read: Read,
    wanted: int,
    places: Places,
) -> Gradients:
    """The gradients, by the quick way if the caller gives no places."""
    if places.out is None and places.workspace is None:
        return differentiate(framework, operands, asked, read, wanted)
    return differentiate_into(framework, operands, asked, read, wanted, places)


def weigh(framework: Framework, operands: Operands, asked: Asked, places: Places) -> Any:
    """The softmax's numerators, for which value is not read."""
    call = Call(framework, asked, operands)
    result = places.out
    if result is None:
        result = call.result(call.extent(), call.wide, Fill.ZERO)
    call.request.output = call.borrow.output("out", result)
    call.run("tw_probabilities", _abi.Operation.PROBABILITIES, places.workspace)
    framework.note_written(places.out, places.workspace)
    return framework.finished(result, operands.query) if places.out is None else result


def differentiate_into(
    framework: Framework,
    operands: Operands,
    asked: Asked,
    read: Read,
    wanted: int,
    places: Places,
    flags: int = 0,
) -> Gradients:
    """The gradients by the slower way, which can also write into the caller's arrays."""
    like = operands.query
    is_swapped = bool(flags & HEADS_FIRST)
    if is_swapped:
        operands = Operands(*map(framework.swapped, operands))
        read = read._replace(
            output=framework.swapped(read.output),
            output_gradient=framework.swapped(read.output_gradient),
        )
    call = Call(framework, asked, operands, flags >> THREADS_SHIFT)
    if flags & DETERMINISTIC:
        call.parts.options.deterministic = 1
    call.request.output = call.borrow.floats("output", read.output)
    call.request.lse = call.borrow.floats("lse", read.lse)
    arriving = call.borrow.floats("output_gradient", read.output_gradient)
    gradients = _abi.Gradients(output=arriving)
    if read.lse_gradient is not None:
        gradients.lse = call.borrow.floats("lse_gradient", read.lse_gradient)
    results = _gradient_results(call, wanted, places.out)
    for name, array in results.items():
        rank = 4 if name == "bias" else 0
        setattr(gradients, name, call.borrow.output(f"{name} gradient", array, rank))
    call.request.gradients = pointer(gradients)
    call.run("tw_backward", BACKWARD, places.workspace)
    framework.note_written(places.workspace)
    if places.out is not None:
        framework.note_written(*places.out)
    else:
        results = {name: framework.finished(array, like) for name, array in results.items()}
    if is_swapped:
        rows = ("query", "key", "value")
        results.update({name: framework.swapped(results[name]) for name in rows if name in results})
    return Gradients(**results)


def _quick_gradients(operands: Operands, asked: Asked, read: Read, wanted: int, flags: int) -> Any:
    arrays = asked.arrays
    pairs = likes = None
    if arrays:
        likes = arrays.get("bias"), arrays.get("alibi_slopes"), arrays.get("sinks")
        for bit, like in enumerate(likes, start=3):
            if like is None:
                wanted &= ~(1 << bit)
        pairs = _quick.pairs(arrays)
    else:
        wanted &= 7
    if read.lse_gradient is not None:
        pairs = (*(pairs or ()), _quick.PLACES["lse_gradient"], read.lse_gradient)
    if not wanted:
        return NotImplemented
    arriving, output, lse, _ = read
    return _quick.extension.backward(
        asked.form, flags, arriving, *operands, output, lse, pairs, wanted, likes
    )


def _gradient_results(call: Call, wanted: int, out: Gradients | None) -> dict[str, Any]:
    """Arrays for the wanted gradients: the caller's, or new ones."""
    out = places_of(out)
    blanks = call.gradient_blanks()
    results: dict[str, Any] = {}
    wanted_names = {name for bit, name in enumerate(Gradients._fields) if wanted >> bit & 1}
    for name, blank in blanks.items():
        given = getattr(out, name)
        if given is not None:
            require_floats(call.framework, f"out.{name}", given, is_written=True)
            results[name] = given
        elif name in wanted_names:
            sides = {"query": ("queries",), "key": ("keys", "cache"), "value": ("keys", "cache")}
            results[name] = call.gradient(name, blank, call.fill(*sides.get(name, ())))
    for name in Gradients._fields:
        if getattr(out, name) is not None and name not in blanks:
            raise ValueError(f"out.{name} is given, but the call has no {name} to differentiate.")
    if not results:
        switches = ", ".join(f"{name}_gradient" for name in blanks)
        raise ValueError(
            f"Every gradient is switched off; leave at least one of {switches} on, or give an "
            "array in out."
        )
    return results


def places_of(out: Any) -> Gradients:
    """The caller's arrays for gradients, checked to be Gradients; all None without `out`."""
    if out is None:
        return Gradients()
    if not isinstance(out, Gradients):
        raise TypeError(
            f"out is a {type(out).__name__}; pass tilewise.Gradients, for example "
            "tilewise.Gradients(query=an_array)."
        )
    return out


def wanted_gradients(*switches: Any) -> int:
    """A bit for each gradient that is asked for, in the order of Gradients."""
    wanted = 0
    for bit, (name, on) in enumerate(zip(Gradients._fields, switches)):
        wanted |= check.flag(f"{name}_gradient", on) << bit
    return wanted
