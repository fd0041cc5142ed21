"""What the torch face refuses: with a sentence, and without harm to the process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from torch_cases import heads_first, rows, tensors, tilewise, torch


def attend(*given: Any, **options: Any) -> Any:
    return tilewise.attention(*given, **options)


def test_fakes_are_refused_as_tensors_are() -> None:
    query, key, value = (x.to("meta") for x in tensors())
    with pytest.raises(ValueError, match=r"^query has 3 dimensions, shape \(9, 4, 16\); it"):
        attend(query[0], key, value)
    with pytest.raises(ValueError, match=r"^query has head dim 16 and key 3; they must be"):
        attend(query, key[..., :3], value)
    with pytest.raises(ValueError, match=r"^key has shape \(2, 12, 2, 16\) and value"):
        attend(query, key[:, 1:], value)
    with pytest.raises(ValueError, match=r"^query has 3 heads and key 2; query's must be"):
        attend(query[:, :, 1:], key, value)


def test_fakes_beside_tensors_with_memory() -> None:
    query, key, value = tensors()
    with pytest.raises(ValueError, match=r"^key lies on cpu, but query on meta; the arrays of one"):
        attend(query.to("meta"), key, value)
    fakes = [x.to("meta") for x in (query, key, value)]
    with pytest.raises(ValueError, match=r"^sinks lies on cpu, but query on meta"):
        attend(*fakes, sinks=torch.zeros(4))


@pytest.mark.parametrize("function", [tilewise.attention, tilewise.sdpa])
def test_stand_ins_of_a_symbolic_trace(function: Any) -> None:
    with pytest.raises(TypeError, match=r"torch\.fx\.wrap\('attention'\) at the top"):
        torch.fx.symbolic_trace(lambda x: function(x, x, x))


def test_options_of_another_kind() -> None:
    query, key, value = heads_first()
    tilewise.sdpa(query, key, value, scale=1)
    for scale in (True, [1], "1"):
        with pytest.raises(TypeError, match=r"^scale is a \w+; it must be a real number"):
            tilewise.sdpa(query, key, value, scale=scale)
    for dropout in (None, "a", True):
        with pytest.raises(TypeError, match=r"^dropout_p is a \w+; it must be a real number"):
            tilewise.sdpa(query, key, value, dropout_p=dropout)
    packed = [x[0] for x in tensors()]
    with pytest.raises(ValueError, match=r"offsets"):
        attend(*packed, query_offsets=[], key_offsets=[])


def test_mixed_frameworks() -> None:
    query, key, value = tensors()
    with pytest.raises(TypeError, match=r"^key is a ndarray, but query is a torch tensor; the arr"):
        attend(query, key.numpy(), value)
    with pytest.raises(TypeError, match=r"^key is a Tensor; pass a NumPy array, for example"):
        attend(query.numpy(), key, value)
    with pytest.raises(TypeError, match=r"^mask is a ndarray, but query is a torch tensor"):
        attend(query, key, value, mask=np.ones((9, 13), bool))
    with pytest.raises(TypeError, match=r"^sinks is a Tensor of torch, but query is a NumPy"):
        attend(*(x.numpy() for x in tensors()), sinks=torch.zeros(4))


FREED = """
import torch, tilewise
query = torch.ones(2, 64, 4, 64)
def cut(size, *shape, count=16):
    big = torch.ones(count, *shape)
    view = big[count - 1]
    big.untyped_storage().resize_(size)
    return view
def gradients(size):
    big, given = torch.ones(3, 2, 64, 4, 64), query.clone().requires_grad_()
    output = tilewise.attention(given, big[1], big[1])
    big.untyped_storage().resize_(size)
    output.sum().backward()
def append(size):
    new, lengths = query[:, :1], torch.zeros(2, dtype=torch.int32)
    tilewise.append(new, new, cut(size, 2, 64, 4, 64), query.clone(), lengths)
def dropout(size):
    state = torch.zeros(64, 2, dtype=torch.int64)[60]
    state.untyped_storage().resize_(size // 16)
    tilewise.attention(query, query, query, dropout=0.5, dropout_state=state)
cases = {
    "query": lambda size: tilewise.attention(cut(size, 2, 64, 4, 64), query, query),
    "key": lambda size: tilewise.attention(query, cut(size, 2, 64, 4, 64, count=1), query),
    "sdpa": lambda size: tilewise.sdpa(*(cut(size, 2, 4, 64, 64) for _ in range(3))),
    "sdpa's value": lambda size: tilewise.sdpa(query, query, cut(size, 2, 64, 4, 64)),
    "bias": lambda size: tilewise.attention(query, query, query, bias=cut(size, 4, 64, 64)),
    "out": lambda size: tilewise.attention(query, query, query, out=cut(size, 2, 64, 4, 64)),
    "gradients": gradients,
    "append": append,
    "dropout": dropout,
}
for name, case in cases.items():
    for size in (0, 4096):
        try:
            case(size)
        except (ValueError, RuntimeError) as error:
            # torch itself refuses to make a further view.
            assert " has no memory" in str(error) or "out of bounds for storage" in str(error)
        else:
            raise AssertionError(name)
"""


def test_storage_that_was_freed_or_shrunk() -> None:
    """In a process of its own, for the harm would be to the process."""
    command = [sys.executable, "-c", FREED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize("needs_grad", [False, True])
def test_a_minus_that_memory_lacks(needs_grad: bool) -> None:
    given = tensors(needs_grad=needs_grad)
    bias, sinks, slopes = rows(4, 9, 13), rows(4), rows(4).abs()
    named = {"bias": bias, "sinks": sinks, "alibi_slopes": slopes}
    plain = attend(*given).detach()
    torch.testing.assert_close(attend(*(torch._neg_view(-x) for x in given)).detach(), plain)
    for name, positive in named.items():
        wanted = attend(*given, **{name: -positive})
        torch.testing.assert_close(attend(*given, **{name: torch._neg_view(positive)}), wanted)
    with pytest.raises(ValueError, match=r"^out "), torch.no_grad():
        attend(*given, out=torch._neg_view(torch.empty(2, 9, 4, 16)))


def test_a_minus_that_memory_of_gradients_lacks() -> None:
    minus = torch._neg_view
    given = tensors()
    output, lse = attend(*given, return_lse=True)
    wanted = tilewise.attention_backward(-output, *given, output, lse, lse_gradient=-lse)
    read = (minus(output), *(minus(-x) for x in given), minus(-output), minus(-lse))
    found = tilewise.attention_backward(*read, lse_gradient=minus(lse))
    for a, b in zip(found[:3], wanted[:3]):
        torch.testing.assert_close(a, b)
    given = tensors(needs_grad=True)
    results = attend(*given, return_lse=True)
    read = tuple(x.detach() for x in results)
    plain = torch.autograd.grad(results, given, [-x for x in read], retain_graph=True)
    for a, b in zip(torch.autograd.grad(results, given, [minus(x) for x in read]), plain):
        torch.testing.assert_close(a, b)


def test_mixed_devices() -> None:
    query, key, value = tensors()
    with pytest.raises((NotImplementedError, ValueError, RuntimeError), match=r"meta|device"):
        attend(query, key.to("meta"), value)
    with pytest.raises(NotImplementedError, match=r"^mask lies on meta; tilewise runs on"):
        attend(query, key, value, mask=torch.ones(9, 13, dtype=torch.bool, device="meta"))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("place", range(3))
def test_odd_tensors(place: int, needs_grad: bool) -> None:
    name = ("query", "key", "value")[place]
    odd: dict[str, Any] = {
        "sparse": lambda x: x.to_sparse(),
        "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    }
    for kind, make in odd.items():
        given = list(tensors(needs_grad=needs_grad))
        given[place] = make(given[place])
        with pytest.raises(TypeError, match=rf"^{name} is a {kind} tensor; pass a strided one"):
            attend(*given)
    given = list(tensors(needs_grad=needs_grad))
    given[place] = given[place].to(torch.complex64)
    with pytest.raises(TypeError, match=rf"^{name} has dtype complex64; it must have one of"):
        attend(*given)
    given = list(tensors(needs_grad=needs_grad))
    given[place] = given[place].to(torch.int32)
    with pytest.raises(TypeError, match=rf"^{name} has dtype int32; it must have one of"):
        attend(*given)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested() -> None:
    nested = torch.nested.nested_tensor([torch.zeros(3, 4, 16), torch.zeros(9, 4, 16)])
    for needs_grad in (False, True):
        others = tensors(needs_grad=needs_grad)[1:]
        for call in (attend, tilewise.sdpa):
            with pytest.raises(TypeError, match=r"^query is a nested tensor; pass a strided one"):
                call(nested, *others)
    with pytest.raises(TypeError, match=r"^attn_mask is a nested tensor; pass a strided one"):
        tilewise.sdpa(*heads_first(), attn_mask=nested)


def test_what_is_no_tensor() -> None:
    query, key, value = tensors()
    for odd in (None, "key", object()):
        for given in ((query, odd, value), (query, key, odd)):
            with pytest.raises(TypeError, match=r"^(key|value) is a \w+, of which torch makes no"):
                attend(*given)


def test_types_that_differ() -> None:
    query, key, value = tensors()
    with pytest.raises(ValueError, match=r"float64"):
        attend(query, key.double(), value)
    for call in (attend, tilewise.sdpa):
        with pytest.raises(ValueError, match=r"key|heads|dim"):
            call(query, key[..., :3], value)


def test_out_with_gradients() -> None:
    given = tensors()
    out = torch.zeros(2, 9, 4, 16, requires_grad=True)
    with pytest.raises(ValueError, match=r"^out requires a gradient"):
        attend(*given, out=out)
    with pytest.raises(ValueError, match=r"^out is given, but query, key, value or an option"):
        attend(*tensors(needs_grad=True), out=out.detach())
    with torch.no_grad():
        assert attend(*given, out=out) is out
    with pytest.raises(ValueError, match=r"out has strides|contiguous in its last dimension"):
        attend(*given, out=torch.zeros(2, 9, 4, 32)[..., ::2])
    with pytest.raises(ValueError, match=r"output"):
        attend(*given, out=torch.zeros(2, 9, 4, 8))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"output_dtype": torch.int8}, "output_dtype is torch.int8; it must be one of torch's"),
        ({"mask": torch.ones(9, 13)}, "mask has dtype float32; it must be bool"),
        ({"bias": torch.ones(9, 13, dtype=torch.int32)}, "bias has dtype int32; it must have"),
        ({"sinks": torch.zeros(4, dtype=torch.bool)}, "sinks has dtype bool; it must hold real"),
        ({"key_lengths": torch.ones(2)}, "key_lengths has dtype float32; it must hold integers."),
        ({"workspace": 100}, "workspace is a int; pass a torch tensor"),
    ],
)
def test_wrong_options(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        attend(*tensors(), **options)
    assert sentence in str(error.value)


def test_the_library_refuses() -> None:
    for needs_grad in (False, True):
        with pytest.raises(ValueError, match=r"^mask has shape"):
            attend(*tensors(needs_grad=needs_grad), mask=rows(9, 12) > 0)
        with pytest.raises(ValueError, match=r"^key_lengths\[0\] is 14"):
            attend(*tensors(needs_grad=needs_grad), key_lengths=torch.tensor([14, 1]))
    with pytest.raises(ValueError, match=r"attn_mask|mask has shape|bias"):
        tilewise.sdpa(*heads_first(), attn_mask=rows(9, 12))


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_importing_imports_no_framework() -> None:
    code = "import sys, tilewise; print([n for n in ('torch', 'jax', 'cupy') if n in sys.modules])"
    found = run(code)
    assert found.stdout.strip() == "[]", found.stderr


@pytest.mark.skipif(tilewise._quick.extension is None, reason="there is no extension")
def test_threads_at_the_end_of_the_process() -> None:
    code = """
import threading, torch, tilewise, tilewise.torch
from tilewise import _forms, _quick
given = [torch.ones(1, 64, 8, 64) for _ in range(3)]
form = _forms.ask({}).form
def work(out):
    # Not by way of torch's own functions, which abort a process that ends while they run.
    while True:
        _quick.extension.forward(form, 0, *given, out, None, None)
for _ in range(3):
    out = torch.empty_like(given[0])
    threading.Thread(target=work, args=(out,), daemon=True).start()
tilewise.attention(*given)
print("over")
"""
    for _ in range(3):
        found = run(code)
        assert found.returncode == 0, found.stderr
        assert found.stdout == "over\n"


def test_gradients_in_another_thread() -> None:
    import threading

    given = tensors(needs_grad=True)
    output = tilewise.attention(*given, dropout=0.1)
    thread = threading.Thread(target=lambda: output.sum().backward())
    thread.start()
    thread.join()
    assert all(x.grad is not None for x in given)


@pytest.mark.parametrize("name", ["query_factor", "key_factor", "value_factor"])
@pytest.mark.parametrize("is_watched", [False, True])
def test_factors_have_no_gradient_and_say_so(name: str, is_watched: bool) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    given = [x.to(torch.float8_e4m3fn) for x in tensors()]
    factor = torch.ones(2, 2, requires_grad=True)
    watch = FlopCounterMode(display=False) if is_watched else torch.enable_grad()
    with watch, pytest.raises(NotImplementedError, match=f"^{name} requires a gradient, which ti"):
        attend(*given, **{name: factor})
    with torch.no_grad():
        attend(*given, **{name: factor})


def test_results_without_a_graph_say_so() -> None:
    given = tensors(needs_grad=True)
    output, lse = attend(*given, return_lse=True)
    calls: dict[str, Any] = {
        "attention_probabilities": lambda: tilewise.attention_probabilities(*given[:2]),
        "attention_backward": lambda: tilewise.attention_backward(output, *given, output, lse),
    }
    for name, call in calls.items():
        with pytest.raises(NotImplementedError, match=f"^query requires a .* tilewise.{name} does"):
            call()
        with torch.no_grad():
            call()


def test_names_that_need_torch_are_absent_without_it() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import tilewise\n"
        "assert not hasattr(tilewise, 'sdpa') and not hasattr(tilewise, 'torch')\n"
        "try: tilewise.sdpa\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.startswith("tilewise.sdpa needs torch: "), done.stderr
