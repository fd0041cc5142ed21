"""_abi.py says what the header says: every name, value, type, size and offset."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tilewise import _abi

HEADERS = Path(__file__).parents[2] / "include" / "tilewise"
TEXT = "".join((HEADERS / name).read_text() for name in ("tilewise.h", "devices.h"))

ENUMS = {
    "tw_status": (_abi.Status, "TW_"),
    "tw_dtype": (_abi.Dtype, "TW_"),
    "tw_diagonal": (_abi.Diagonal, "TW_"),
    "tw_operation": (_abi.Operation, "TW_"),
    "tw_device_kind": (_abi.DeviceKind, "TW_"),
    "tw_format": (_abi.Format, "TW_"),
    "tw_fault": (_abi.Fault, "TW_FAULT_"),
}
STRUCTS: dict[str, type[ctypes.Structure]] = {
    "tw_tensor": _abi.Tensor,
    "tw_mask": _abi.Mask,
    "tw_scores": _abi.Scores,
    "tw_dropout": _abi.Dropout,
    "tw_sequences": _abi.Sequences,
    "tw_cache": _abi.Cache,
    "tw_scaling": _abi.Scaling,
    "tw_options": _abi.Options,
    "tw_gradients": _abi.Gradients,
    "tw_request": _abi.Request,
    "tw_device": _abi.Device,
    "tw_device_facts": _abi.DeviceFacts,
    "tw_parallel": _abi.Parallel,
    "tw_execution": _abi.Execution,
    "tw_rotation": _abi.Rotation,
    "tw_rotary_request": _abi.RotaryRequest,
    "tw_append_request": _abi.AppendRequest,
    "tw_merge_request": _abi.MergeRequest,
    "tw_kernel_choice": _abi.KernelChoice,
}
SCALARS: dict[str, Any] = {
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "double": ctypes.c_double,
    "char": ctypes.c_char,
    "void*": ctypes.c_void_p,
    "void**": ctypes.POINTER(ctypes.c_void_p),
    "int32_t*": ctypes.POINTER(ctypes.c_int32),
    "char*": ctypes.POINTER(ctypes.c_char),
    "int64_t*": ctypes.POINTER(ctypes.c_int64),
    "uint32_t*": ctypes.POINTER(ctypes.c_uint32),
    "uint64_t*": ctypes.POINTER(ctypes.c_uint64),
    "size_t*": ctypes.POINTER(ctypes.c_size_t),
    "tw_task": _abi.Task,
    "tw_progress": _abi.Progress,
}
CALLBACKS = {"tw_task": _abi.Task, "tw_progress": _abi.Progress}


def code_of(header: str) -> str:
    """The header without comments and preprocessor lines."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    return re.sub(r"^#.*$", "", text, flags=re.MULTILINE)


def ctype_of(name: str) -> Any:
    """The ctypes type of a C type, which has no spaces and no const."""
    if name in SCALARS:
        return SCALARS[name]
    if name in STRUCTS:
        return STRUCTS[name]
    if name in ENUMS:
        return ctypes.c_int
    if name.endswith("*"):
        return ctypes.POINTER(STRUCTS[name[:-1]])
    raise AssertionError(f"the header uses the type {name}, which this test does not know")


def split_declaration(declaration: str) -> tuple[str, list[str]]:
    """ "const tw_mask* a, b" is the type "tw_mask*" and the declarators "a", "b"."""
    words = re.sub(r"\bconst\b", "", declaration).strip()
    match = re.fullmatch(r"(\w+\s*\**)\s*(.+)", words, re.DOTALL)
    assert match, declaration
    names = [name.strip() for name in match[2].split(",")]
    return match[1].replace(" ", ""), names


def parse_enums(code: str) -> dict[str, dict[str, int]]:
    enums: dict[str, dict[str, int]] = {}
    for body, name in re.findall(r"typedef enum \w+ \{(.*?)\} (\w+);", code, re.DOTALL):
        entries = (entry.split("=") for entry in body.split(",") if entry.strip())
        enums[name] = {key.strip(): int(value) for key, value in entries}
    return enums


def parse_structs(code: str) -> dict[str, list[tuple[str, Any]]]:
    structs: dict[str, list[tuple[str, Any]]] = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", code, re.DOTALL):
        structs[name] = [
            member
            for declaration in body.split(";")
            if declaration.strip()
            for member in parse_members(declaration)
        ]
    return structs


def callback_type(result: str, arguments: str) -> Any:
    types = [ctype_of(split_declaration(part)[0]) for part in arguments.split(",")]
    return ctypes.CFUNCTYPE(None if result == "void" else ctype_of(result), *types)


def parse_members(declaration: str) -> list[tuple[str, Any]]:
    callback = re.match(r"\s*void \(\*(\w+)\)\((.*)\)", declaration, re.DOTALL)
    if callback:
        return [(callback[1], callback_type("void", callback[2]))]
    type_name, names = split_declaration(declaration)
    members: list[tuple[str, Any]] = []
    for name in names:
        plain, _, length = name.rstrip("]").partition("[")
        ctype = ctype_of(type_name)
        members.append((plain, ctype * int(length) if length else ctype))
    return members


def parse_functions(code: str) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    functions: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    for result, name, body in re.findall(r"TW_API ([\w\s*]+?)(\w+)\((.*?)\);", code, re.DOTALL):
        parts = [] if body.strip() == "void" else body.split(",")
        arguments = tuple(ctype_of(split_declaration(part)[0]) for part in parts)
        words = result.replace("const", "").replace(" ", "")
        # A string that is returned is read as one; those that are passed in are written to.
        functions[name] = ctypes.c_char_p if words == "char*" else ctype_of(words), arguments
    return functions


def differences(header: str) -> list[str]:
    """What the header and _abi.py disagree about, by parsing alone."""
    code = code_of(header)
    found: list[str] = []
    enums = parse_enums(code)
    for name in sorted(enums.keys() ^ ENUMS.keys()):
        found.append(f"enum {name} is on one side only")
    for name in enums.keys() & ENUMS.keys():
        python, prefix = ENUMS[name]
        mirrored = {prefix + member.name: member.value for member in python}
        if mirrored != enums[name]:
            found.append(f"enum {name}: the header has {enums[name]}, _abi has {mirrored}")
    structs = parse_structs(code)
    for name in sorted(structs.keys() ^ STRUCTS.keys()):
        found.append(f"struct {name} is on one side only")
    for name in structs.keys() & STRUCTS.keys():
        fields = [(field[0], field[1]) for field in STRUCTS[name]._fields_]
        if [spelled(*field) for field in fields] != [spelled(*field) for field in structs[name]]:
            found.append(f"struct {name}: the header has {structs[name]}, _abi has {fields}")
    for name, ours in CALLBACKS.items():
        match = re.search(rf"typedef (\w+) \(\*{name}\)\((.*?)\);", code)
        if not match or spelled("", callback_type(*match.groups())) != spelled("", ours):
            found.append(f"type {name}: the header has {match and match[0]}, _abi has another")
    functions = parse_functions(code)
    for name in sorted(functions.keys() | _abi.FUNCTIONS.keys()):
        if functions.get(name) != _abi.FUNCTIONS.get(name):
            declared = _abi.FUNCTIONS.get(name)
            there = functions.get(name)
            found.append(f"function {name}: the header has {there}, _abi has {declared}")
    return found


def spelled(name: str, ctype: Any) -> str:
    """Function types of one signature are different objects, so they are compared by signature."""
    arguments = getattr(ctype, "_argtypes_", None)
    return f"{name}: {ctype if arguments is None else (ctype._restype_, arguments)}"


def test_declarations_match_the_header() -> None:
    assert differences(TEXT) == []


def test_version_matches_the_header() -> None:
    numbers = dict(re.findall(r"#define TW_VERSION_(\w+) (\d+)", TEXT))
    assert (int(numbers["MAJOR"]), int(numbers["MINOR"])) == _abi.ABI


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("TW_FLOAT16 = 3", "TW_FLOAT16 = 4", "enum tw_dtype"),
        ("int64_t chunk;", "int32_t chunk;", "struct tw_mask"),
        ("tw_tensor cosine, sine;", "tw_tensor sine, cosine;", "struct tw_rotation"),
        ("int32_t workers;", "int32_t workers; int32_t spare;", "struct tw_parallel"),
        ("int32_t worker);", "int64_t worker);", "type tw_task"),
        ("int32_t (*tw_progress)", "void (*tw_progress)", "type tw_progress"),
        ("tw_format format, ", "", "function tw_explain"),
        ("int64_t total,", "int32_t total,", "type tw_progress"),
        ("TW_API const char* tw_version(void);", "", "function tw_version"),
        ("} tw_device;", "} tw_place;", "struct tw_device"),
    ],
)
def test_a_change_of_the_header_is_found(before: str, after: str, where: str) -> None:
    header = TEXT
    assert before in header
    found = differences(header.replace(before, after))
    assert any(where in line for line in found), found


def layout_program() -> str:
    lines = ['#include "tilewise/tilewise.h"', "#include <stdio.h>", "int main(void) {"]
    for name, structure in STRUCTS.items():
        lines.append(f'  printf("{name} %zu\\n", sizeof({name}));')
        for field in structure._fields_:
            place = f"offsetof({name}, {field[0]}), sizeof((({name}*)0)->{field[0]})"
            lines.append(f'  printf("{name}.{field[0]} %zu %zu\\n", {place});')
    return "\n".join([*lines, "  return 0;", "}", ""])


def test_sizes_and_offsets_match_the_compiler(tmp_path: Path) -> None:
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), "")
    if not compiler:
        pytest.skip("no C compiler: none of cc, gcc and clang is on the PATH")
    source, program = tmp_path / "layout.c", tmp_path / "layout"
    source.write_text(layout_program())
    include = f"-I{HEADERS.parent}"
    subprocess.run([compiler, "-std=c11", include, source, "-o", program], check=True)
    printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    ours: list[str] = []
    for name, structure in STRUCTS.items():
        ours.append(f"{name} {ctypes.sizeof(structure)}")
        for field in structure._fields_:
            place = getattr(structure, field[0])
            ours.append(f"{name}.{field[0]} {place.offset} {place.size}")
    assert printed.splitlines() == ours
