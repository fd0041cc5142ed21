"""tilewise.torch.enable: whose enable is undone, how its output lies, what an export names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import tilewise  # noqa: E402
import tilewise.torch as face  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch_cases import is_before  # noqa: E402

original = functional.scaled_dot_product_attention


@pytest.fixture(autouse=True)
def _off() -> Iterator[None]:
    yield
    face.disable()


def test_close_undoes_its_own_enable_alone() -> None:
    first = face.enable()
    face.disable()
    second = face.enable()
    first.close()  # disable undid it long ago
    assert face.is_enabled()
    first.close()
    with first:  # nor does a second use of it count
        assert face.is_enabled()
    assert face.is_enabled()
    second.close()
    assert not face.is_enabled()


def test_disable_inside_a_with_leaves_what_comes_after() -> None:
    with face.enable():
        face.disable()
        after = face.enable()
    assert face.is_enabled()
    after.close()
    assert not face.is_enabled()


def test_close_out_of_turn() -> None:
    first, second = face.enable(), face.enable()
    first.close()
    first.close()
    assert face.is_enabled()
    second.close()
    assert not face.is_enabled()


class Calls(torch.nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, query: Any) -> Any:
        return original(query, query, query)


def test_an_export_runs_what_is_on_when_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from tilewise.torch import _override

    seen: list[Any] = []

    def watched(*given: Any, **named: Any) -> Any:
        seen.append(given)
        return tilewise.sdpa(*given, **named)

    query = torch.randn(1, 2, 5, 8)
    with face.enable():
        program = torch.export.export(Calls(), (query,))
    assert "scaled_dot_product_attention" in str(program.graph)
    monkeypatch.setattr(_override, "sdpa", watched)
    wanted = program.module()(query)
    assert not seen
    with face.enable():
        found = program.module()(query)
    assert len(seen) == 1
    assert torch.allclose(found, wanted, atol=1e-5)


def lying(order: tuple[int, ...], *shape: int) -> Any:
    """Random numbers of this shape whose memory has the dimensions in this order."""
    there = torch.randn(*(shape[place] for place in order))
    return there.permute(*(order.index(place) for place in range(len(shape))))


@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 1, 3)])
@pytest.mark.parametrize(
    "option", ["none", "causal", "mask", "bias", "short", "wide", "masks", "learned"]
)
def test_output_lies_as_torchs_does(order: tuple[int, ...], option: str, needs_grad: bool) -> None:
    if is_before(2, 5) and order == (0, 1, 2, 3) and option not in ("masks", "learned", "wide"):
        pytest.skip("torch's own output lies as (batch, length, heads, dim) there before 2.5")
    query, key, value = (lying(order, 2, 4, 8, 16) for _ in range(3))
    query.requires_grad_(needs_grad)
    options: dict[str, Any] = {}
    if option == "causal":
        options["is_causal"] = True
    elif option == "mask":
        options["attn_mask"] = torch.ones(8, 8).tril().bool()
    elif option == "bias":
        options["attn_mask"] = torch.randn(8, 8)
    elif option == "masks":
        options["attn_mask"] = torch.ones(4, 8, 8).tril().bool()
    elif option == "learned":
        options["attn_mask"] = torch.randn(8, 8, requires_grad=True)
    elif option == "short":
        query = query[:, :, :1]
    elif option == "wide" and order == (0, 1, 2, 3):
        value = lying(order, 2, 4, 8, 32)
    wanted = original(query, key, value, **options)
    with face.enable():
        found = original(query, key, value, **options)
    assert found.stride() == wanted.stride()
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("needs_grad", [False, True])
def test_output_under_dropout_lies_as_torchs_does(needs_grad: bool) -> None:
    query = lying((0, 2, 1, 3), 2, 4, 8, 16).requires_grad_(needs_grad)
    wanted = original(query, query, query, dropout_p=0.5)
    with face.enable():
        found = original(query, query, query, dropout_p=0.5)
        assert found.stride() == wanted.stride()
        found.view(8, 8, 16).sum()
        if needs_grad:
            found.sum().backward()
            assert query.grad.isfinite().all()


@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_second_order_of_float64_on_a_gpu_stays(dtype: Any, needs_grad: bool) -> None:
    """Which operators a call runs, on fake tensors of a GPU."""
    seen: list[str] = []

    class Names(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
            seen.append(function.name())
            return function(*args, **(kwargs or {}))

    with FakeTensorMode(), face.enable():
        given = torch.empty(3, 2, 4, 5, 8, device="cuda", dtype=dtype).unbind()
        query, key, value = (x.requires_grad_(needs_grad) for x in given)
        with Names():
            functional.scaled_dot_product_attention(query, key, value)
    assert ("tilewise::attention" in seen) == (dtype == torch.float32 or not needs_grad)
