"""torch.func's transformations and forward mode: right, or refused with a sentence."""

from __future__ import annotations

import importlib
from typing import Any, Callable

import pytest
from torch_cases import close, heads_first, rows, tensors, tilewise, torch

face: Any = importlib.import_module("tilewise.torch")
forward_ad: Any = torch.autograd.forward_ad
pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns of vmap's slow loop
QUERY, KEY, VALUE = tensors()
LSE = torch.zeros(2, 4, 9)
TABLES = rows(16, 4), rows(16, 4, seed=1)
CACHES = torch.zeros(2, 20, 2, 16), torch.zeros(2, 20, 2, 16)


def appended(x: Any, **more: Any) -> Any:
    return tilewise.append(x, VALUE, *CACHES, [0, 0], **more)


DUAL: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "attention": (QUERY, lambda x: tilewise.attention(x, KEY, VALUE)),
    "out": (QUERY, lambda x: tilewise.attention(x, KEY, VALUE, out=torch.empty_like(QUERY))),
    "workspace": (
        QUERY,
        lambda x: tilewise.attention(
            x, KEY, VALUE, workspace=torch.empty(1 << 20, dtype=torch.uint8)
        ),
    ),
    "bias": (rows(9, 13), lambda x: tilewise.attention(QUERY, KEY, VALUE, bias=x)),
    "backward": (
        QUERY,
        lambda x: tilewise.attention_backward(QUERY, x, KEY, VALUE, QUERY, LSE).query,
    ),
    "arriving": (
        QUERY,
        lambda x: tilewise.attention_backward(x, QUERY, KEY, VALUE, QUERY, LSE).query,
    ),
    "probabilities": (QUERY, lambda x: tilewise.attention_probabilities(x, KEY)),
    "rotary": (QUERY, lambda x: tilewise.rotary(x, *TABLES)),
    "table": (TABLES[0], lambda x: tilewise.rotary(QUERY, x, TABLES[1])),
    "merge": (QUERY, lambda x: tilewise.merge([x, x], [LSE, LSE])[0]),
    "append": (KEY, appended),
    "query": (
        QUERY,
        lambda x: appended(KEY, query=x, cosine=rows(20, 4), sine=rows(20, 4)),
    ),
}


@pytest.mark.parametrize("name", DUAL)
def test_tangents_are_refused(name: str) -> None:
    primal, function = DUAL[name]
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(primal, torch.ones_like(primal))
        with pytest.raises(NotImplementedError, match=r"^tilewise has no forward-mode gradients"):
            function(dual)
        function(primal)  # what has no tangent is let through


@pytest.mark.parametrize("name", ["sdpa", "attention", "rotary"])
@pytest.mark.parametrize("transform", ["jvp", "jacfwd", "hessian"])
def test_forward_mode_of_functions(name: str, transform: str) -> None:
    functions: dict[str, Callable[[Any], Any]] = {
        "sdpa": lambda x: tilewise.sdpa(x, x, x).sin().sum(),
        "attention": lambda x: tilewise.attention(x, x, x).sin().sum(),
        "rotary": lambda x: tilewise.rotary(x, *TABLES).sin().sum(),
    }
    x = rows(1, 3, 2, 8)
    given = (functions[name], (x,), (x,)) if transform == "jvp" else (functions[name],)

    def transformed() -> Any:
        made = getattr(torch.func, transform)(*given)
        return made if transform == "jvp" else made(x)

    with pytest.raises(NotImplementedError, match=r"^tilewise has no forward-mode gradients"):
        transformed()


def test_rotary_under_functions() -> None:
    x = rows(3, 2, 5, 4, 16)
    positions = torch.tensor([1, 6])

    def loss(x: Any) -> Any:
        return (tilewise.rotary(x, *TABLES, positions=positions) ** 3).sum()

    wanted = []
    for each in x:
        leaf = each.clone().requires_grad_()
        wanted += torch.autograd.grad(loss(leaf), leaf)
    close(torch.func.grad(loss)(x[0]), wanted[0])
    close(torch.vmap(torch.func.grad(loss))(x), torch.stack(wanted))
    other = torch.vmap(lambda x: tilewise.rotary(x, *TABLES, positions=positions))(x)
    close(other[1], tilewise.rotary(x[1], *TABLES, positions=positions), 0)
    twice = torch.func.grad(lambda x: torch.func.grad(loss)(x).sum())(x[0])
    leaf = x[0].clone().requires_grad_()
    (once,) = torch.autograd.grad(loss(leaf), leaf, create_graph=True)
    close(twice, torch.autograd.grad(once.sum(), leaf)[0])
    with pytest.raises(ValueError, match=r"^out is given, but torch.func transforms"):
        torch.vmap(lambda x: tilewise.rotary(x, *TABLES, out=torch.empty_like(x)))(x)


def test_module_under_functions() -> None:
    module = face.FlashMHA(16, 2, causal=True, rotary_dim=4)
    x = rows(2, 5, 16)
    parameters = {name: each.detach() for name, each in module.named_parameters()}

    def loss(parameters: Any) -> Any:
        return torch.func.functional_call(module, parameters, (x,)).sin().sum()

    found = torch.func.grad(loss)(parameters)
    module(x).sin().sum().backward()
    for name, each in module.named_parameters():
        close(found[name], each.grad)


def test_what_has_no_rule_says_so() -> None:
    x = torch.stack([QUERY, -QUERY])
    with pytest.raises(NotImplementedError, match=r"^tilewise.merge is no part of torch.vmap"):
        torch.vmap(lambda x: tilewise.merge([x, x], [LSE, LSE])[0])(x)
    with pytest.raises(NotImplementedError, match=r"^tilewise.append is no part of torch.vmap"):
        torch.vmap(appended)(torch.stack([KEY, -KEY]))
    given = heads_first()

    def with_constants(x: Any) -> Any:
        part = tilewise.merge([QUERY, QUERY], [LSE, LSE])[0]
        return tilewise.sdpa(x, *given[1:]).sum() * part.sum()

    assert torch.func.grad(with_constants)(given[0]).shape == given[0].shape


FUNCTIONAL: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "sdpa": (heads_first()[0], lambda x: tilewise.sdpa(x, x, x, is_causal=True)),
    "attention": (QUERY, lambda x: tilewise.attention(x, KEY, VALUE, softcap=3.0)),
    "rotary": (QUERY, lambda x: tilewise.rotary(x, *TABLES)),
}


@pytest.mark.parametrize("function", FUNCTIONAL)
def test_functionalize(function: str) -> None:
    given, call = FUNCTIONAL[function]
    functional = torch.func.functionalize(call)
    x = given.clone().requires_grad_()
    close(functional(x), call(x))
    found, wanted = (torch.autograd.grad(each(x).sin().sum(), x)[0] for each in (functional, call))
    close(found, wanted)
    many = torch.stack([given, -given])
    close(torch.func.functionalize(torch.vmap(call))(many), torch.stack([*map(call, many)]))
    for both in (
        torch.func.functionalize(torch.func.grad(lambda x: call(x).sum())),
        torch.func.grad(lambda x: functional(x).sum()),
    ):
        with pytest.raises(NotImplementedError, match=r"functionalize and torch.func.grad"):
            both(given)


def test_functionalize_of_backward() -> None:
    output, lse = tilewise.attention(QUERY, KEY, VALUE, return_lse=True)

    def call(arriving: Any) -> Any:
        return tilewise.attention_backward(arriving, QUERY, KEY, VALUE, output, lse).query

    close(torch.func.functionalize(call)(output), call(output))
