"""What is refused, as which exception, and with which sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tilewise
from reference import arrays
from tilewise import _abi, _library


def attend(**options: Any) -> None:
    """A call that is right but for its options."""
    query, key, value = arrays(dtype=np.float32)
    tilewise.attention(query, key, value, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cuasal": True}, "cuasal is no option of attention; did you mean causal?"),
        ({"qqqq": 1}, "qqqq is no option of attention; help(tilewise.Options) lists them."),
        ({"causal": 1.0}, "causal is a float; it must be True or False."),
        ({"scale": "1"}, "scale is a str; it must be a real number."),
        ({"softcap": True}, "softcap is a bool; it must be a real number."),
        ({"chunk": 1.5}, "chunk is a float; it must be an integer."),
        ({"diagonal": True}, "diagonal is True; it must be an integer."),
        ({"window": 3}, "window is a int; it must be a tuple of 2 items."),
        ({"mask": np.ones((19, 37), np.uint8)}, "mask has dtype uint8; it must be bool"),
        (
            {"mask": np.zeros((19, 37))},
            "mask has dtype float64; it must be bool, where True means visible. A mask that is "
            "added to the scores goes in as bias, or as mask == 0; 1 and 0 as mask != 0.",
        ),
        ({"key_lengths": [1.0, 2.0]}, "key_lengths has dtype float64; it must hold integers."),
        ({"bias": np.zeros(37, int)}, "bias has dtype int64; it must have one of float32"),
        ({"sinks": ["a"]}, "sinks has dtype str32; it must hold real numbers."),
        ({"workspace": 100}, "workspace is a int; pass a NumPy array"),
        ({"return_lse": "no"}, "return_lse is a str; it must be True or False."),
        ({"out": [0.0]}, "out is a list; pass a NumPy array"),
        ({"output_dtype": "int8"}, "output_dtype is int8; it must be one of float32, float64"),
    ],
)
def test_wrong_types(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        attend(**options)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": (1, 2, 3)}, "window has 3 items; it must have 2."),
        ({"causal": 2}, "causal is 2; it must be True or False."),
        ({"causal": np.int8(-1)}, "causal is -1; it must be True or False."),
        ({"window": (-1, -1)}, "window is (-1, -1), which hides every key. A side without a limit"),
        ({"window": (-1, 0)}, "window is (-1, 0), which hides every key."),
        ({"window": (3, -4)}, "window is (3, -4), which hides every key."),
        (
            {"window": (-1, None), "causal": True},
            "window is (-1, None) and causal is True, which hides every key.",
        ),
        ({"window": (-1, 5), "causal": 1}, "window is (-1, 5) and causal is True, which hides"),
        ({"diagonal": "middle"}, "it must be 'bottom_right', 'top_left' or an integer."),
        ({"seed": -1}, "seed is -1; it must lie between 0 and 18446744073709551615."),
        ({"chunk": 2**63}, "chunk is 9223372036854775808; it must lie between"),
        ({"threads": -1}, "threads is -1; it must lie between 0 and"),
        ({"block_size": (16, 16)}, "block_size is given without a block_mask"),
        ({"block_mask": [[True]]}, "block_mask is given without block_size"),
        ({"mask": np.ones((1,) * 5, bool)}, "mask has 5 dimensions; it may have at most 4."),
        ({"query_offsets": [0, 19]}, "query has 4 dimensions, shape (2, 19, 4, 16); it takes 3"),
        (
            {"key_lengths": np.full(2, 2**63, np.uint64)},
            "holds 9223372036854775808, which does not",
        ),
        ({"page_table": 3}, "page_table has 0 dimensions"),
        ({"workspace": np.empty((4, 4))[:, :2]}, "workspace must be a contiguous array"),
    ],
)
def test_wrong_values(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the sentence is compared below
        attend(**options)
    assert sentence in str(error.value)


# tests/problem covers what the library refuses. Here its sentences must name Python's options in
# place of members of C structs.
@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"dropout": 1.0}, "^dropout is 1"),
        ({"scale": 1e-50}, "^scale is 1e-50"),
        ({"softcap": 1e39}, r"^softcap is 1e\+39"),
        ({"chunk": -1}, "^chunk is -1"),
        ({"mask": np.ones((19, 36), bool)}, r"^mask has shape \(1, 1, 19, 36\)"),
        ({"sinks": [0.0]}, "^sinks"),
        ({"alibi_slopes": [[0.0] * 4] * 3}, "^alibi_slopes"),
        ({"key_lengths": [38, 1]}, r"^key_lengths\[0\] is 38"),
        ({"block_mask": [[True]], "block_size": (16, 15)}, r"block_size\[1\] is 15"),
        ({"page_table": [[0], [2]]}, "page_table is given without key_lengths"),
        ({"page_table": [[0], [2]], "key_lengths": [5, 5]}, r"page_table\[1, 0\] is 2"),
        ({"cache_batch_index": [0, 2]}, r"cache_batch_index\[1\] is 2"),
    ],
)
def test_the_library_refuses(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word) as error:
        attend(**options)
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert len(sentence.split()) > 4


def test_what_float32_cannot_hold_is_right_in_float64() -> None:
    query, key, value = arrays()
    plain = tilewise.attention(query, key, value)
    for softcap in (1e39, 1e300):
        np.testing.assert_allclose(tilewise.attention(query, key, value, softcap=softcap), plain)
    large = tilewise.attention(query * 1e-25, key * 1e-25, value, scale=0.25e50)
    np.testing.assert_allclose(large, plain)


def test_arrays_that_are_none() -> None:
    query, key, value = arrays(dtype=np.float32)
    with pytest.raises(TypeError, match=r"query is a list; pass a NumPy array"):
        tilewise.attention(query.tolist(), key, value)
    with pytest.raises(TypeError, match=r"key has dtype complex64; it must have one of float32"):
        tilewise.attention(query, key.astype(np.complex64), value)
    with pytest.raises(ValueError, match=r"value has 3 dimensions.*Without|With key_offsets"):
        tilewise.attention(query, key, value[0])


def test_shapes_and_types_that_differ() -> None:
    query, key, value = arrays(dtype=np.float32)
    with pytest.raises(ValueError, match=r"key"):
        tilewise.attention(query, key[..., :15], value)
    with pytest.raises(ValueError, match=r"float64"):
        tilewise.attention(query, key.astype(np.float64), value)
    with pytest.raises(ValueError, match=r"heads"):
        tilewise.attention(query[:, :, :3], key, value)


def test_a_gradient_of_nothing() -> None:
    query, key, value = arrays(dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    out = tilewise.Gradients(sinks=np.empty(4, np.float32))
    with pytest.raises(ValueError, match=r"out.sinks is given, but the call has no sinks"):
        tilewise.attention_backward(output, query, key, value, output, lse, out=out)


def test_gradients_into_what_is_no_gradients() -> None:
    query, key, value = arrays(dtype=np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True)
    wrong: Any
    for wrong in ((np.empty_like(query), None, None), {"query": np.empty_like(query)}, (), 0):
        with pytest.raises(
            TypeError, match=r"^out is a \w+; pass tilewise\.Gradients, for example"
        ):
            tilewise.attention_backward(output, query, key, value, output, lse, out=wrong)


def test_no_gradient_at_all() -> None:
    query, key, value = arrays(dtype=np.float32)
    sinks = np.ones(4, np.float32)
    output, lse = tilewise.attention(query, key, value, return_lse=True, sinks=sinks)
    names = ("query_gradient", "key_gradient", "value_gradient", "sinks_gradient")
    switches: dict[str, Any] = dict.fromkeys(names, False)
    with pytest.raises(ValueError, match=r"^Every gradient is switched off; leave .*") as error:
        tilewise.attention_backward(output, query, key, value, output, lse, sinks=sinks, **switches)
    assert f"leave at least one of {', '.join(names)} on, or" in str(error.value)


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_padding_by_sequence_gets_a_hint(name: str) -> None:
    query, key, value = arrays(dtype=np.float32)
    padding = np.arange(37) < [[37], [20]]
    given = padding if name == "mask" else np.where(padding, np.float32(0), np.float32(-np.inf))
    with pytest.raises(ValueError, match=rf"{name} has shape \(2, 37\), which is read as") as error:
        attend(**{name: given})
    hint = f"there are 19 queries. When it goes by sequence, as padding does, give {name}[:, None, "
    assert hint in str(error.value)
    options: dict[str, Any] = {name: given[:, None, None]}
    found = tilewise.attention(query, key, value, **options)
    wanted = tilewise.attention(query, key, value, key_lengths=[37, 20])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=rf"^{name} has shape \(1, 1, 3, 37\)"):
        attend(**{name: np.zeros((3, 37), given.dtype)})


@pytest.mark.parametrize(
    "name", ["mask", "bias", "alibi_slopes", "key_lengths", "block_mask", "dropout_state", "out"]
)
def test_masked_arrays_of_options(name: str) -> None:
    kinds: dict[str, Any] = {
        "mask": np.ones((19, 37), bool),
        "bias": np.zeros((19, 37), np.float32),
        "alibi_slopes": np.zeros(4, np.float32),
        "key_lengths": np.array([37, 37]),
        "block_mask": np.ones((2, 3), bool),
        "dropout_state": np.zeros(2, np.uint64),
        "out": np.zeros((2, 19, 4, 24), np.float32),
    }
    extra: dict[str, Any] = {"block_size": (16, 16)} if name == "block_mask" else {}
    attend(**{name: kinds[name]}, **extra)
    with pytest.raises(TypeError, match=rf"^{name} is a masked array, and its mask would be ignor"):
        attend(**{name: np.ma.masked_array(kinds[name])}, **extra)


@pytest.mark.parametrize("place", range(3))
def test_masked_arrays_of_tokens(place: int) -> None:
    given = list(arrays(dtype=np.float32))
    given[place] = np.ma.masked_greater(given[place], 1)
    name = ("query", "key", "value")[place]
    with pytest.raises(TypeError, match=rf"^{name} is a masked array.*pass {name}\.filled"):
        tilewise.attention(*given)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (_abi.Status.INVALID, ValueError),
        (_abi.Status.UNSUPPORTED, NotImplementedError),
        (_abi.Status.FAILED, RuntimeError),
    ],
)
def test_each_status_has_its_exception(
    status: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        @staticmethod
        def tw_forward(message: Any, _size: int) -> int:
            message.value = b"A sentence."
            return status

    monkeypatch.setattr(_library, "_library", Refusing)
    with pytest.raises(error, match=r"A sentence\.") as raised:
        _library.call("tw_forward")
    assert type(raised.value) is error


def load_with(path: str) -> str:
    """What importing the package says when TILEWISE_LIBRARY is `path`."""
    environment = {**os.environ, "TILEWISE_LIBRARY": path}
    run = subprocess.run(
        [sys.executable, "-c", "import tilewise"], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 1
    return run.stderr


def test_a_library_that_is_missing_or_another() -> None:
    assert "cannot use the shared library /nowhere.so" in load_with("/nowhere.so")
    other = "libSystem.dylib" if sys.platform == "darwin" else "libc.so.6"
    assert f"cannot use the shared library {other}" in load_with(other)


def test_a_library_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_abi, "ABI", (9, 8))
    with pytest.raises(ImportError, match=r"but this package speaks version 9\.8"):
        _library.load(_library.library_path())
