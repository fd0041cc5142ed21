"""flash_attn_with_kvcache against the formula: what is appended, and what is seen."""

from __future__ import annotations

from typing import Any

import pytest
from flash_cases import INFINITY, flash, formula, made
from torch_cases import close, torch

LENGTHS = torch.tensor([5, 0, 7], dtype=torch.int32)


def plain(*shape: int, seed: int) -> Any:
    return made(*shape, seed=seed, grad=False)


def caches(rows: int = 3, capacity: int = 12) -> Any:
    return plain(rows, capacity, 2, 16, seed=1), plain(rows, capacity, 2, 16, seed=2)


def turned(x: Any, cos: Any, sin: Any, position: Any, interleaved: bool) -> Any:
    """x (batch, length, heads, dim) by the formula; position (batch, length)."""
    columns = cos.shape[1]
    cos, sin = cos.double()[position][:, :, None], sin.double()[position][:, :, None]
    rotating, rest = x.double()[..., : 2 * columns], x.double()[..., 2 * columns :]
    if interleaved:
        one, other = rotating[..., ::2], rotating[..., 1::2]
        parts = torch.stack((one * cos - other * sin, one * sin + other * cos), -1).flatten(-2)
    else:
        one, other = rotating.chunk(2, -1)
        parts = torch.cat((one * cos - other * sin, one * sin + other * cos), -1)
    return torch.cat((parts, rest), -1)


def by_formula(q: Any, k: Any, v: Any, used: Any, first: Any = None, **given: Any) -> Any:
    """Each sequence by itself; k and v are (batch, capacity, ...)."""
    found = []
    for b in range(q.shape[0]):
        rows = slice(0 if first is None else int(first[b]), int(used[b]))
        found.append(formula(q[b : b + 1], k[b : b + 1, rows], v[b : b + 1, rows], **given))
    return torch.cat([x for x, _ in found]), torch.cat([x for _, x in found])


@pytest.mark.parametrize("given", [{}, {"causal": True}, {"window": (3, 1)}], ids=str)
@pytest.mark.parametrize("queries", [1, 3])
def test_over_what_is_there(given: dict[str, Any], queries: int) -> None:
    k_cache, v_cache = caches()
    q = plain(3, queries, 4, 16, seed=3)
    options = {"window_size" if name == "window" else name: x for name, x in given.items()}
    found = flash.flash_attn_with_kvcache(
        q, k_cache, v_cache, cache_seqlens=LENGTHS, return_softmax_lse=True, **options
    )
    wanted, lse = by_formula(q, k_cache, v_cache, LENGTHS, **given)
    close(found[0].double(), wanted)
    close(found[1].double(), lse)
    assert (found[1][1] == INFINITY).all()
    whole = flash.flash_attn_with_kvcache(q, k_cache, v_cache, num_splits=3, **options)
    close(whole.double(), formula(q, k_cache, v_cache, **given)[0])
    as_number = flash.flash_attn_with_kvcache(q, k_cache, v_cache, cache_seqlens=6, **options)
    close(as_number.double(), formula(q, k_cache[:, :6], v_cache[:, :6], **given)[0])


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("given", [{}, {"causal": True}, {"window": (2, 0)}], ids=str)
@pytest.mark.parametrize("columns", [0, 4, 8])
def test_append(given: dict[str, Any], columns: int, interleaved: bool) -> None:
    k_cache, v_cache = caches()
    q, k, v = plain(3, 2, 4, 16, seed=3), plain(3, 2, 2, 16, seed=4), plain(3, 2, 2, 16, seed=5)
    angle = plain(12, columns, seed=6) if columns else None
    options: dict[str, Any] = {"window_size" if n == "window" else n: x for n, x in given.items()}
    wanted_k, wanted_v, new_k, query = k_cache.double(), v_cache.clone(), k.double(), q
    if angle is not None:
        options.update(rotary_cos=angle.cos(), rotary_sin=angle.sin())
        options["rotary_interleaved"] = interleaved
        position = LENGTHS[:, None] + torch.arange(2)
        new_k = turned(k, angle.cos(), angle.sin(), position, interleaved)
        position = position if given else LENGTHS[:, None].expand(3, 2)
        query = turned(q, angle.cos(), angle.sin(), position, interleaved)
    for b, length in enumerate(LENGTHS.tolist()):
        wanted_k[b, length : length + 2] = new_k[b]
        wanted_v[b, length : length + 2] = v[b]
    found = flash.flash_attn_with_kvcache(
        q, k_cache, v_cache, k, v, cache_seqlens=LENGTHS, **options
    )
    close(k_cache.double(), wanted_k)
    assert torch.equal(v_cache, wanted_v)
    close(found.double(), by_formula(query, wanted_k, wanted_v, LENGTHS + 2, **given)[0])


@pytest.mark.parametrize("page", [3, 4])
def test_pages(page: int) -> None:
    columns = 12 // page
    order = torch.randperm(3 * columns + 2, generator=torch.Generator().manual_seed(1))
    table = order[: 3 * columns].view(3, columns).to(torch.int32)
    pages = [plain(3 * columns + 2, page, 2, 16, seed=s) for s in (1, 2)]
    q, k, v = plain(3, 2, 4, 16, seed=3), plain(3, 2, 2, 16, seed=4), plain(3, 2, 2, 16, seed=5)
    rows = [x[table.long()].flatten(1, 2) for x in pages]
    wanted = flash.flash_attn_with_kvcache(q, *rows, k, v, cache_seqlens=LENGTHS, causal=True)
    found = flash.flash_attn_with_kvcache(
        q, *pages, k, v, cache_seqlens=LENGTHS, block_table=table, causal=True
    )
    close(found, wanted)
    for x, row in zip(pages, rows):
        assert torch.equal(x[table.long()].flatten(1, 2), row)
    whole = flash.flash_attn_with_kvcache(q, *pages, block_table=table)
    close(whole, flash.flash_attn_with_kvcache(q, *rows))


def test_rows_of_a_larger_cache() -> None:
    k_cache, v_cache = caches(rows=5)
    q, k, v = plain(3, 2, 4, 16, seed=3), plain(3, 2, 2, 16, seed=4), plain(3, 2, 2, 16, seed=5)
    index = torch.tensor([4, 0, 2], dtype=torch.int32)
    rows = k_cache[index.long()], v_cache[index.long()]
    others = k_cache[[1, 3]]
    wanted = flash.flash_attn_with_kvcache(q, *rows, k, v, cache_seqlens=LENGTHS, causal=True)
    found = flash.flash_attn_with_kvcache(
        q, k_cache, v_cache, k, v, cache_seqlens=LENGTHS, cache_batch_idx=index, causal=True
    )
    close(found, wanted)
    assert torch.equal(k_cache[index.long()], rows[0])
    assert torch.equal(k_cache[[1, 3]], others)
    first = flash.flash_attn_with_kvcache(q, k_cache, v_cache, cache_seqlens=LENGTHS)
    close(first, flash.flash_attn_with_kvcache(q, k_cache[:3], v_cache[:3], cache_seqlens=LENGTHS))


@pytest.mark.parametrize("columns", [0, 8])
def test_padding_on_the_left(columns: int) -> None:
    """Positions count the padding, as in flash_attn."""
    k_cache, v_cache = caches()
    first = torch.tensor([2, 0, 3], dtype=torch.int32)
    q, k, v = plain(3, 2, 4, 16, seed=3), plain(3, 2, 2, 16, seed=4), plain(3, 2, 2, 16, seed=5)
    options: dict[str, Any] = {}
    query = q
    if columns:
        angle = plain(12, columns, seed=6)
        options.update(rotary_cos=angle.cos(), rotary_sin=angle.sin())
        position = LENGTHS[:, None] + torch.arange(2)
        query = turned(q, angle.cos(), angle.sin(), position, True)
    found = flash.flash_attn_with_kvcache(
        q,
        k_cache,
        v_cache,
        k,
        v,
        cache_seqlens=LENGTHS,
        cache_leftpad=first,
        causal=True,
        **options,
    )
    wanted, _ = by_formula(query, k_cache, v_cache, LENGTHS + 2, first, causal=True)
    close(found.double(), wanted)


def test_slopes_softcap_and_sinks() -> None:
    k_cache, v_cache = caches()
    q = plain(3, 2, 4, 16, seed=3)
    slopes, sinks = torch.tensor([0.5, 0.25, 0.1, 0.3]), torch.tensor([1.0, 0.0, -1.0, 0.5])
    lengths = torch.tensor([5, 2, 7], dtype=torch.int32)
    for name, value, given in (
        ("alibi_slopes", slopes, {"slopes": slopes}),
        ("softcap", 2.0, {"softcap": 2.0}),
        ("s_aux", sinks, {"sinks": sinks}),
    ):
        options: dict[str, Any] = {name: value, "causal": True, "cache_seqlens": lengths}
        found = flash.flash_attn_with_kvcache(
            q, k_cache, v_cache, return_softmax_lse=True, **options
        )
        wanted, lse = by_formula(q, k_cache, v_cache, lengths, causal=True, **given)
        close(found[0].double(), wanted)
        close(found[1].double(), lse)


def test_there_is_no_gradient() -> None:
    k_cache, v_cache = caches()
    q = made(3, 1, 4, 16, seed=3)
    k, v = made(3, 1, 2, 16, seed=4), made(3, 1, 2, 16, seed=5)
    found = flash.flash_attn_with_kvcache(q, k_cache, v_cache, k, v, cache_seqlens=LENGTHS)
    assert not found.requires_grad
    assert not k_cache.requires_grad


@pytest.mark.filterwarnings("ignore")
def test_compiled() -> None:
    q, k, v = plain(3, 2, 4, 16, seed=3), plain(3, 2, 2, 16, seed=4), plain(3, 2, 2, 16, seed=5)
    angle = plain(12, 8, seed=6)

    def call(q: Any, caches: Any, k: Any, v: Any, lengths: Any) -> Any:
        tables = {"rotary_cos": angle.cos(), "rotary_sin": angle.sin()}
        return flash.flash_attn_with_kvcache(
            q, *caches, k, v, cache_seqlens=lengths, causal=True, **tables
        )

    one, other = caches(), caches()
    found = torch.compile(call, fullgraph=True, backend="aot_eager")(q, one, k, v, LENGTHS)
    close(found, call(q, other, k, v, LENGTHS))
    assert torch.equal(one[0], other[0])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"k": 2}, "Of k and v only one"),
        ({"k": 2, "v": 2}, "without cache_seqlens"),
        ({"rotary_cos": 1, "rotary_sin": 1}, "without k and v"),
        ({"rotary_cos": 1}, "Of rotary_cos and rotary_sin only one"),
        ({"k": 2, "v": 2, "cache_seqlens": 11}, r"cache_seqlens\[0\] is 11"),
    ],
)
def test_refusals(given: dict[str, Any], sentence: str) -> None:
    k_cache, v_cache = caches()
    before = k_cache.clone()
    made_ones = {
        name: plain(3, 2, 2, 16, seed=1) if x == 2 else plain(12, 8, seed=1) if x == 1 else x
        for name, x in given.items()
    }
    with pytest.raises(ValueError, match=sentence) as refused:
        flash.flash_attn_with_kvcache(plain(3, 2, 4, 16, seed=3), k_cache, v_cache, **made_ones)
    assert isinstance(refused.value, RuntimeError)  # as flash_attn's callers expect it
    assert torch.equal(k_cache, before)


def test_a_cache_of_rank_1_is_refused() -> None:
    row, new = plain(16, seed=1), plain(3, 2, 2, 16, seed=2)
    with pytest.raises(ValueError, match="k_cache has rank 1 but must have rank 4"):
        flash.flash_attn_with_kvcache(new, row, row, new, new, cache_seqlens=3)
