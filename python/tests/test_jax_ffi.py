"""What XLA calls: declarations beside jaxlib's, what is refused, and how it is found."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewise
from jax_cases import face, jax, jnp, rows
from scripts import ROOT
from tilewise import _abi, _handlers, _machine

# tilewise's name, jaxlib's, and members in pairs.
STRUCTS = {
    "Extension XLA_FFI_Extension_Base": "size struct_size, type type, next next",
    "Version XLA_FFI_Api_Version": "size struct_size, extension extension_start, "
    "major major_version, minor minor_version",
    "Metadata XLA_FFI_Metadata": "size struct_size, version api_version, traits traits",
    "MetadataExtension XLA_FFI_Metadata_Extension": "base extension_base, metadata metadata",
    "Buffer XLA_FFI_Buffer": "size struct_size, extension extension_start, dtype dtype, data data, "
    "rank rank, shape dims",
    "Text XLA_FFI_ByteSpan": "data ptr, bytes len",
    "Scalar XLA_FFI_Scalar": "dtype dtype, value value",
    "Buffers XLA_FFI_Args": "size struct_size, extension extension_start, count size, kinds types, "
    "items args",
    "Attributes XLA_FFI_Attrs": "size struct_size, extension extension_start, count size, "
    "kinds types, names names, values attrs",
    "CreateError XLA_FFI_Error_Create_Args": "size struct_size, extension extension_start, "
    "message message, code errc",
    "AskError XLA_FFI_Error_GetMessage_Args": "size struct_size, extension extension_start, "
    "error error, message message",
    "DestroyError XLA_FFI_Error_Destroy_Args": "size struct_size, error error",
    "GetStream XLA_FFI_Stream_Get_Args": "size struct_size, context ctx, stream stream",
    "Allocate XLA_FFI_DeviceMemory_Allocate_Args": "size struct_size, context ctx, bytes size, "
    "alignment alignment, data data",
    "Free XLA_FFI_DeviceMemory_Free_Args": "size struct_size, context ctx, bytes size, data data",
    "GetDevice XLA_FFI_DeviceOrdinal_Get_Args": "size struct_size, context ctx, "
    "ordinal device_ordinal",
    "Api XLA_FFI_Api": "size struct_size, extension extension_start, version api_version, "
    "create_error XLA_FFI_Error_Create, ask_error XLA_FFI_Error_GetMessage, "
    "destroy_error XLA_FFI_Error_Destroy, "
    "stream XLA_FFI_Stream_Get, allocate XLA_FFI_DeviceMemory_Allocate, "
    "free XLA_FFI_DeviceMemory_Free, device XLA_FFI_DeviceOrdinal_Get",
    "CallFrame XLA_FFI_CallFrame": "size struct_size, extension extension_start, api api, "
    "context ctx, stage stage, operands args, results rets, attributes attrs",
}
# Names of before version 0.4 of the interface, and of since.
RENAMED = {
    "Extension_Base": "InternalExtension",
    "Extension_Metadata": "InternalExtension_Metadata",
    "Error_GetMessage": "Error_GetDetails",
}
NUMBERS = {
    "kMajor": "API_MAJOR",
    "kMetadataExtension": "Extension_Metadata",
    "kExecute": "ExecutionStage_EXECUTE",
    "kBufferItem": "ArgType_BUFFER",
    "kBufferItem + 0": "RetType_BUFFER",  # one name for both
    "kScalar": "AttrType_SCALAR",
    "kString": "AttrType_STRING",
    "kInvalidArgument": "Error_Code_INVALID_ARGUMENT",
    "kResourceExhausted": "Error_Code_RESOURCE_EXHAUSTED",
    "kUnimplemented": "Error_Code_UNIMPLEMENTED",
    "kInternal": "Error_Code_INTERNAL",
    "kPred": "DataType_PRED",
    **{f"k{name}": f"DataType_{name}" for name in ("S32", "S64", "F16", "F32", "F64", "BF16")},
}


def checks() -> list[str]:
    """What a compiler must find true of both headers."""
    found = [f"int(ours::{name}) == int(XLA_FFI_{theirs})" for name, theirs in NUMBERS.items()]
    for pair, members in STRUCTS.items():
        ours, theirs = pair.split()
        for each in members.split(", "):
            member, other = each.split()
            found.append(f"offsetof(ours::{ours}, {member}) == offsetof({theirs}, {other})")
            found.append(f"sizeof(ours::{ours}::{member}) == sizeof({theirs}::{other})")
        if ours not in ("AskError", "CallFrame", "Metadata"):  # their last member differs
            relation = "<=" if ours == "Api" else "=="  # which grows
            found.append(f"sizeof(ours::{ours}) {relation} sizeof({theirs})")
    return found


def test_declarations_are_jaxlibs(tmp_path: Path) -> None:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no C++ compiler to read jaxlib's header with")
    lines = ['#include "python/xla/ffi.h"', '#include "xla/ffi/api/c_api.h"']
    lines += ["namespace ours = tilewise::xla::ffi;"]
    theirs = Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h").read_text()
    for check in checks():
        for old, new in RENAMED.items():
            if f"XLA_FFI_{old}" not in theirs:
                check = re.sub(rf"\bXLA_FFI_{old}(?=_Args\b|\b)", f"XLA_FFI_{new}", check)
        lines.append(f"static_assert({check});")
    source = tmp_path / "compared.cpp"

    def compiled(text: list[str]) -> Any:
        source.write_text("\n".join(text) + "\n")
        command = [compiler, "-std=c++20", "-fsyntax-only", "-I", str(ROOT)]
        command += ["-I", jax.ffi.include_dir(), str(source)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    done = compiled(lines)
    assert done.returncode == 0, done.stderr
    wrong = compiled([*lines, "static_assert(offsetof(ours::CallFrame, stage) == 1);"])
    assert wrong.returncode != 0
    header = (ROOT / "python/xla/ffi.h").read_text()
    structs = set(re.findall(r"^struct (\w+) \{", header, re.MULTILINE))
    assert structs == {pair.split()[0] for pair in STRUCTS}


def call(**attributes: Any) -> Any:
    query, key, value = rows()
    result = jax.ShapeDtypeStruct(query.shape, query.dtype)
    target = jax.ffi.ffi_call("tilewise_forward", (result,))
    return target(query, key, value, **attributes)


GOOD = {"operands": "query key value", "results": "output"}


def test_a_call_by_hand() -> None:
    found = call(**GOOD)[0]
    np.testing.assert_array_equal(found, face.attention(*rows()))


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"operands": "query key values"}, 'No operand is named "values"'),
        ({"operands": "query key"}, 'No operand is named ""'),
        ({"operands": "query key value bias"}, 'Names are left over for operands: "bias"'),
        ({"speed": np.int64(3)}, "The attribute speed is none of attention's"),
        ({"left": np.float64(3)}, "The attribute left is none of attention's"),
        ({"results": "lse"}, "output is absent"),
        ({"softcap": np.float64(-1)}, "softcap is -1"),
    ],
)
def test_what_a_handler_refuses(attributes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Exception, match=re.escape(sentence)):
        jax.block_until_ready(call(**{**GOOD, **attributes}))


def test_a_type_that_is_none() -> None:
    target = jax.ffi.ffi_call("tilewise_forward", (jax.ShapeDtypeStruct((2,), "uint8"),))
    with pytest.raises(Exception, match="query has a type or a rank that attention does not take"):
        jax.block_until_ready(target(jnp.zeros((1,) * 5), operands="query", results="output"))


def test_a_build_without_handlers_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _machine.facts()["tilewise.jax"] == "is in this build"
    monkeypatch.setattr(_handlers, "path", lambda: tmp_path / "_xla.so")
    with pytest.raises(ImportError, match=r"^This build of tilewise has no part for JAX: "):
        _handlers.load()
    assert _machine.facts()["tilewise.jax"] == "not in this build"


def test_handlers_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_abi, "ABI", (9, 7))
    with pytest.raises(ImportError, match=r"belongs to tilewise 0\.\d+, but .* version 9\.7\."):
        _handlers.load()


def test_it_is_there_by_its_name() -> None:
    assert tilewise.jax is face
