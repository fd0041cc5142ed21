"""The extension and its Python twin: one table of slots, one form, the same results."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewise
from reference import arrays
from tilewise import _forms, _library, _quick
from tilewise._slots import SLOTS, Form

HEADER = Path(__file__).parents[1] / "fast" / "slots.h"
pytestmark = pytest.mark.skipif(
    _quick.extension is None, reason="the package was built without Python's headers"
)
extension: Any = _quick.extension


def test_form_has_one_size() -> None:
    assert ctypes.sizeof(Form) == extension.FORM_BYTES
    with pytest.raises(TypeError, match="The form is not of this version"):
        extension.forward(b"", 0, None, None, None, None, None, None)


def test_slots_are_pythons() -> None:
    lines = re.findall(
        r'TW_SLOT\("([\w.]+)", ([\w.]+), Kind::k(\w+), (\d), (\w+), (\w+)\)', HEADER.read_text()
    )
    assert [line[0] for line in lines] == list(extension.SLOTS[:-2])
    assert extension.SLOTS[-2:] == ("seed", "dropout_offset")
    found = {name: (place, kind.lower(), int(rank)) for name, place, kind, rank, *_ in lines}
    for name, slot in SLOTS.items():
        part = slot.part if slot.part in ("cache", "scaling") else f"form.{slot.part}"
        assert found[name] == (f"{part}.{slot.member}", slot.kind, slot.rank)


def results(**options: Any) -> Any:
    query, key, value = arrays(dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True, **options)
    found = tilewise.attention_backward(output, query, key, value, output, lse, **options)
    return output, lse, *found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True, "diagonal": 4},
        {"bias": np.ones((37,), np.float32), "sinks": np.ones(4, np.float32), "softcap": 3.0},
        {"mask": np.arange(37) < 20, "dropout": 0.5, "seed": 3},
        {"key_lengths": np.array([20, 37]), "query_lengths": np.array([3, 19])},
    ],
)
def test_both_ways_give_the_same_bits(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = results(**options)
    monkeypatch.setattr(_quick, "extension", None)
    for one, other in zip(quick, results(**options)):
        if one is None:
            assert other is None
        else:
            np.testing.assert_array_equal(one, other)


def cached(dtype: Any) -> Any:
    """append and rotary: turned queries, caches, and a packed rotation."""
    random = np.random.default_rng(3)
    new, query = random.random((2, 2, 3, 2, 8)), random.random((2, 3, 4, 8))
    angle = np.arange(9)[:, None] * np.linspace(0.1, 1, 4)
    tables = np.cos(angle).astype(dtype), np.sin(angle).astype(dtype)
    key, value = new.astype(dtype)
    key_cache, value_cache = caches = np.zeros((2, 2, 9, 2, 8), dtype)
    turned = tilewise.append(
        key,
        value,
        key_cache,
        value_cache,
        np.array([1, 4]),
        cosine=tables[0],
        sine=tables[1],
        interleaved=True,
        query=query.astype(dtype),
        query_lengths=np.array([3, 2]),
        cache_batch_index=np.array([1, 0]),
    )
    assert tilewise.append(key, value, key_cache, value_cache, np.array([5, 0])) is None
    packed = tilewise.rotary(
        query.reshape(6, 4, 8).astype(dtype),
        *tables,
        inverse=True,
        fixed=True,
        positions=np.array([2, 3]),
        offsets=np.array([0, 2, 6]),
    )
    return turned, caches, packed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ways_fill_the_same_caches(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = cached(dtype)
    monkeypatch.setattr(_quick, "extension", None)
    for one, other in zip(quick, cached(dtype)):
        np.testing.assert_array_equal(one, other)


def test_quick_takes_what_it_can() -> None:
    query, key, value = arrays(dtype=np.float32)
    form = _forms.ask({"causal": True}).form
    found = extension.forward(form, 0, query, key, value, None, None, None)
    np.testing.assert_array_equal(found, tilewise.attention(query, key, value, causal=True))
    read_only = np.zeros_like(found)
    read_only.flags.writeable = False
    for wrong in (
        (query.tolist(), key, value, None, None, None),
        (query[0], key, value, None, None, None),
        (query[..., ::2], key[..., ::2], value, None, None, None),
        (query, key, value, read_only, None, None),
        (query, key, value, None, None, (extension.SLOTS.index("mask"), np.ones(37))),
        (query, key[..., :3], value, None, None, None),
    ):
        assert extension.forward(form, 0, *wrong) is NotImplemented


def test_a_workspace_that_grows() -> None:
    for length in (1, 300, 2000, 5):
        query = np.ones((1, length, 1, 8), np.float32)
        output, lse = tilewise.attention(query, query, query, return_lse=True)
        found = tilewise.attention_backward(output, query, query, query, output, lse)
        np.testing.assert_allclose(output, 1, rtol=1e-6)
        assert found.value is not None
        np.testing.assert_allclose(found.value, 1, rtol=1e-4)


def newest_symbol(path: Path) -> tuple[int, ...]:
    """The newest release of the C library that a file asks for."""
    found = re.findall(rb"GLIBC_(\d+)\.(\d+)(?:\.(\d+))?\0", path.read_bytes())
    return max(tuple(int(part or 0) for part in version) for version in found)


# The shared libraries that a wheel's files may need, all of them guaranteed by manylinux. libstdc++
# is linked statically; libgcc is not, because its static copy needs a C library of 2.35.
ALLOWED = {
    b"ld-linux-aarch64.so.1",
    b"ld-linux-x86-64.so.2",
    b"libc.so.6",
    b"libdl.so.2",
    b"libgcc_s.so.1",
    b"libm.so.6",
    b"libpthread.so.0",
}


def promised() -> tuple[int, ...]:
    """The release of the C library that the wheel's tag names; 2.28 where it names none."""
    tags = importlib.metadata.distribution("tilewise").read_text("WHEEL") or ""
    found = re.search(r"^Tag: .*manylinux_(\d+)_(\d+)_", tags, re.MULTILINE)
    return tuple(map(int, found.groups())) if found else (2, 28)


@pytest.mark.parametrize("name", ["libtilewise.so", "_fast.abi3.so", "_xla.so"])
def test_a_wheel_runs_on_older_systems(name: str) -> None:
    path = Path(tilewise.__path__[0]) / name
    if not path.exists() or _library.library_path().parent != path.parent:
        pytest.skip("this package is no installed wheel")
    assert promised() <= (2, 28)
    assert newest_symbol(path) <= (*promised(), 0)
    data = path.read_bytes()
    needed = set(re.findall(rb"\0((?:lib[\w+-]+|ld-[\w-]+)\.so\.\d+)(?=\0)", data))
    needed -= {b"libcuda.so.1"}  # opened at run time, where it is there
    assert {name for name in needed if not name.startswith(b"libnvrtc")} <= ALLOWED
