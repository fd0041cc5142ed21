"""Generation step by step with a cache, and rotation with gradients."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from torch_cases import close, rows, tilewise, torch

face: Any = tilewise.torch
WIDTH, HEADS = 48, 4
MODULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rotary": {"rotary_dim": 12, "num_heads_kv": 2},
    "pairs": {"rotary_dim": 8, "rotary_interleaved": True, "num_heads_kv": 1},
    "slopes": {"alibi_slopes": True, "window": (5, None)},
    "softcap": {"softcap": 1.5},
}


def made(**options: Any) -> Any:
    torch.manual_seed(0)
    return face.FlashMHA(WIDTH, HEADS, causal=True, **options).eval()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("steps", [(1,) * 12, (7, 1, 1, 3), (12,)])
def test_steps_are_the_whole(name: str, steps: tuple[int, ...]) -> None:
    module = made(**MODULES[name])
    x = rows(2, 12, WIDTH)
    with torch.inference_mode():
        cache = module.make_cache(2, 12)
        wanted = module(x)
    with torch.no_grad():
        for _ in range(2):
            found = [module(part, cache=cache) for part in x.split(list(steps), 1)]
            close(torch.cat(found, 1), wanted)
            assert cache.lengths.tolist() == [12, 12]
            cache.reset()


@pytest.mark.parametrize("side", ["before", "behind"])
def test_prompts_of_different_lengths(side: str) -> None:
    module = made(**MODULES["rotary"])
    x, more = rows(3, 6, WIDTH), rows(3, 3, WIDTH, seed=1)
    lengths = torch.tensor([6, 2, 0])
    place = torch.arange(6)
    mask = place >= 6 - lengths[:, None] if side == "before" else place < lengths[:, None]
    cache = module.make_cache(3, 9)
    with torch.no_grad():
        prompt = module(x, key_padding_mask=mask, cache=cache)
        steps = [module(more[:, t : t + 1], cache=cache) for t in range(3)]
        found = torch.cat(steps, 1)
        for each in range(3):
            whole = module(torch.cat([x[each, mask[each]], more[each]])[None])[0]
            close(prompt[each, mask[each]], whole[: lengths[each]])
            close(found[each], whole[lengths[each] :])
    assert cache.lengths.tolist() == [9, 5, 3]
    assert cache.longest == 9
    gap = torch.tensor([[True, False, True]] * 3)
    cache.reset()
    with pytest.raises(ValueError, match=r"has a gap between tokens that count"), torch.no_grad():
        module(more, key_padding_mask=gap, cache=cache)


def test_a_cache_of_half_the_memory() -> None:
    module = made()
    x = rows(2, 8, WIDTH)
    cache = module.make_cache(2, 8, dtype=torch.bfloat16)
    with torch.no_grad():
        found = torch.cat([module(part, cache=cache) for part in x.split(1, 1)], 1)
        close(found, module(x), 2e-2)
    assert found.dtype == torch.float32


def test_what_a_cache_refuses() -> None:
    module, x = made(), rows(2, 4, WIDTH)
    cache = module.make_cache(2, 5)
    with torch.no_grad():
        module(x, cache=cache)
        before = cache.key.clone()
        with pytest.raises(
            ValueError, match=r"room for 5 positions; 4 are taken and 4 more do not"
        ):
            module(x, cache=cache)
        close(cache.key, before, 0)
        assert cache.lengths.tolist() == [4, 4]
        with pytest.raises(ValueError, match=r"The cache holds 2 sequences, and x has 1"):
            module(x[:1, :1], cache=cache)
        with pytest.raises(ValueError, match=r"A cache is for self-attention with causal=True"):
            face.FlashMHA(WIDTH, HEADS).eval()(x, cache=cache)
    with pytest.raises(ValueError, match=r"A cache keeps no gradients, but key or value"):
        module(x[:, :1], cache=cache)
    with pytest.raises(ValueError, match=r"A cache is for generation and keeps no gradients"):
        made().train()(x[:, :1], cache=cache)


@pytest.mark.filterwarnings("ignore")
def test_steps_under_compile() -> None:
    module = made(**MODULES["rotary"])
    x = rows(2, 6, WIDTH)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    cache = module.make_cache(2, 6)
    with torch.no_grad():
        found = [compiled(part, cache=cache) for part in x.split(1, 1)]
        close(torch.cat(found, 1), module(x))
    torch._dynamo.reset()


def test_rotation_of_packed_tokens() -> None:
    rotation = face.RotaryEmbedding(8, base=500.0)
    x = rows(2, 5, 3, 8, needs_grad=True)
    packed = rotation(x.flatten(0, 1), offsets=torch.tensor([0, 5, 10]), max_length=5)
    close(packed, rotation(x).flatten(0, 1), 0)
    later = rotation(x, torch.tensor([0, 70]))
    close(later[0], rotation(x)[0], 0)
    close(later[1], rotation(torch.cat([x.new_zeros(1, 70, 3, 8), x[1:]], 1))[0, 70:], 1e-6)


def test_rotation_has_gradients() -> None:
    rotation = face.RotaryEmbedding(6, interleaved=True)
    x = rows(2, 5, 3, 8, dtype=torch.float64, needs_grad=True)
    assert torch.autograd.gradcheck(rotation, x)
    assert torch.autograd.gradcheck(lambda x: rotation(x, torch.tensor([3, 0])), x)


def test_an_append_that_turns() -> None:
    rotation, cache = face.RotaryEmbedding(8), face.Cache(2, 9, 3, 8)
    key, value, query = rows(2, 4, 3, 8), rows(2, 4, 3, 8, seed=1), rows(2, 4, 6, 8, seed=2)
    tables = rotation.tables(9, key)
    turned = [
        cache.append(k, v, query=q, tables=tables)
        for k, v, q in zip(key.split(2, 1), value.split(2, 1), query.split(2, 1))
    ]
    close(torch.cat(turned, 1), rotation(query), 1e-6)
    close(cache.key[:, :4], rotation(key), 1e-6)
    close(cache.value[:, :4], value, 0)
    assert not cache.key[:, 4:].any()


def test_a_cache_decides_on_the_type_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it holds would be cast at each step otherwise."""
    module, x = made(**MODULES["rotary"]), rows(2, 6, WIDTH)
    cache = module.make_cache(2, 6)
    mha: Any = importlib.import_module("tilewise.torch._mha")
    attention, seen = mha.attention, []

    def watched(query: Any, key: Any, value: Any, **options: Any) -> Any:
        seen.append((query.dtype, key is cache.key, torch.is_autocast_enabled("cpu")))
        return attention(query, key, value, **options)

    monkeypatch.setattr(mha, "attention", watched)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = [module(part, cache=cache) for part in x.split(2, 1)]
    assert seen == [(torch.float32, True, False)] * 3
    assert found[0].dtype is torch.bfloat16
    with torch.no_grad():
        close(torch.cat(found, 1).float(), module(x), 2e-2)
