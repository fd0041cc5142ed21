"""Checks the shape of the sources: sizes, columns, leftovers and names of folders.

Function sizes and names inside C++ are clang-tidy's part. Usage: check_shape.py [ROOT]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from source_text import CPP_SUFFIXES, cpp_comment_lines, cpp_without_comments, source_files
from struct_members import struct_members

ROOT = Path(__file__).resolve().parent.parent

MAX_LINES = 400
MAX_COLUMNS = 100
MAX_TEMPLATE_PARAMETERS = 4
MAX_MEMBERS = 12  # of a struct
# Why a struct may have more, and which do so. One too many is a complaint, too.
MORE_MEMBERS = {
    "an interface between two programs says what is in it": {
        "include/tilewise/tilewise.h: tw_append_request",
        "include/tilewise/types.hpp: Request",
        "python/xla/ffi.h: Api",
    },
    "a kernel's one argument, which the host fills and the GPU reads": {
        "src/backends/cuda/kernels/attention.h: Attention",
        "src/backends/cuda/kernels/cache_ops.h: Append",
        "src/backends/cuda/kernels/sm80/launch.h: Forward",
    },
    "each backend names the functions that it has, and no others": {"src/plan/backend.h: Backend"},
    "a block's state in registers": {"src/backends/cuda/kernels/sm80/backward_block.h: KeyBlock"},
    "a played driver: what it is told and what it has seen, function by function": {
        "tests/backends/cuda/fake_cuda.h: FakeCuda",
    },
}
_EXCUSED = set[str]().union(*MORE_MEMBERS.values())
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}
MIRRORED = Path("python/tilewise/flash_attn")  # its modules have the names of another package's
LEFTOVERS = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")

# Names with two underscores, which C++ reserves. clang-tidy's naming rules find leading ones; its
# check of all reserved names would take an eighth of its time. PyInit__ is Python's demand.
RESERVED = re.compile(r"\b(?!PyInit__)[A-Za-z]\w*__\w*")

_HASH_SUFFIXES = {".py", ".cmake", ".sh"}
_HASH_NAMES = {"CMakeLists.txt", "dev", "run"}

# A comment line is code when it ends like a statement and holds what prose does not hold.
_CPP_CODE = re.compile(
    r"""^(?:\#\s*(?:include|define|if|ifdef|ifndef|endif|else|pragma)\b
        |(?:if|for|while|switch)\s*\(.*\)\s*\{?$
        |(?:return|break|continue|goto|throw|using|typedef)\b[^.]*;$
        |.*[\w\])]\s*(?:=|\+=|-=|\*=|<<)\s*[^=].*;$
        |[\w:<>.\->\[\]*&\s]+\(.*\)\s*(?:const)?\s*(?:;|\{)$
        |(?:const|auto|static|int|float|double|bool|void|std::\w+)\b[^.]*;$
        |[{}]+;?$)""",
    re.VERBOSE,
)


def _python_comment_is_code(comment: str) -> bool:
    """True for what parses as a statement; a bare word or a type comment is prose."""
    try:
        statements = ast.parse(comment).body
    except (SyntaxError, ValueError):
        return False
    prose = (ast.Expr, ast.AnnAssign)
    return any(
        not isinstance(node, prose) or (isinstance(node, ast.Expr) and _is_call(node))
        for node in statements
    )


def _is_call(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Call | ast.Await)


def _hash_comment_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped.startswith("#") and not stripped.startswith("#!"):
            yield number, stripped.lstrip("#").strip()


def _commented_out_code(path: Path, text: str) -> Iterator[tuple[int, str]]:
    if path.suffix in CPP_SUFFIXES:
        for number, comment in cpp_comment_lines(text):
            # Deeply indented lines are a display: an example, a formula.
            if not comment.startswith("    ") and _CPP_CODE.match(comment.strip()):
                yield number, "is commented-out code: delete it, the history keeps it"
        for match in re.finditer(r"^[ \t]*#[ \t]*if[ \t]+0\b", text, re.MULTILINE):
            yield text.count("\n", 0, match.start()) + 1, "opens code that is never compiled"
    elif path.suffix == ".py":
        for number, comment in _hash_comment_lines(text):
            if _python_comment_is_code(comment):
                yield number, "is commented-out code: delete it, the history keeps it"


def template_parameters(code: str) -> Iterator[tuple[int, int]]:
    """(line number, how many parameters) of each template head in comment-free C++ text."""
    for match in re.finditer(r"\btemplate\s*<", code):
        depth, commas, position = 1, 0, match.end()
        while position < len(code) and depth > 0:
            character = code[position]
            if character in "<([{":
                depth += 1
            elif character in ")]}" or (character == ">" and code[position - 1] != "-"):
                depth -= 1
            elif character == "," and depth == 1:
                commas += 1
            position += 1
        is_empty = not code[match.end() : position - 1].strip()
        yield code.count("\n", 0, match.start()) + 1, 0 if is_empty else commas + 1


def check_text(path: Path, text: str) -> Iterator[str]:
    """The complaints about the file `path` (relative to the root) that holds `text`."""
    lines = text.split("\n")
    count = len(lines) - (lines[-1] == "")
    if count > MAX_LINES:
        yield f"{path}: has {count} lines; at most {MAX_LINES} are allowed: split it by idea."
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_COLUMNS:
            yield f"{path}:{number}: has {len(line)} columns; at most {MAX_COLUMNS} are allowed."
        if LEFTOVERS.search(line):
            yield f"{path}:{number}: leaves work behind: do it, or write it down as an issue."
    for number, reason in _commented_out_code(path, text):
        yield f"{path}:{number}: {reason}."
    if path.suffix in CPP_SUFFIXES:
        code = cpp_without_comments(text)
        for match in RESERVED.finditer(code):
            number = code.count("\n", 0, match.start()) + 1
            yield f"{path}:{number}: `{match[0]}` is reserved: use one underscore between words."
        for number, parameters in template_parameters(code):
            if parameters > MAX_TEMPLATE_PARAMETERS:
                yield (
                    f"{path}:{number}: has {parameters} template parameters; at most "
                    f"{MAX_TEMPLATE_PARAMETERS} are allowed: group them in a traits type."
                )


def check_structs(path: Path, text: str, used: set[str]) -> Iterator[str]:
    """The complaints about the structs of `path`; adds to `used` what MORE_MEMBERS excuses."""
    if path.suffix not in CPP_SUFFIXES:
        return
    for number, name, members in struct_members(cpp_without_comments(text)):
        if members <= MAX_MEMBERS:
            continue
        key = f"{path.as_posix()}: {name}"
        used.add(key)
        if key not in _EXCUSED:
            yield (
                f"{path}:{number}: {name} has {members} members; at most {MAX_MEMBERS} are "
                "allowed: group those that belong together."
            )


def check_name(path: Path) -> Iterator[str]:
    """The complaints about the name of `path` (relative to the root)."""
    for name in () if MIRRORED in path.parents else (*path.parts[:-1], path.stem):
        if name in FORBIDDEN_NAMES:
            yield f"{path}: `{name}` says nothing about what is inside: name the concept."


def main(arguments: list[str]) -> int:
    """Checks every source file below the root; 1 when there is a complaint."""
    root = Path(arguments[0]).resolve() if arguments else ROOT
    complaints: list[str] = []
    count, used = 0, set[str]()
    for path in source_files(root):
        name = path.relative_to(root)
        complaints += check_name(name)
        suffixes = CPP_SUFFIXES | _HASH_SUFFIXES
        if path.suffix in suffixes or path.name in _HASH_NAMES:
            count += 1
            text = path.read_text(encoding="utf-8")
            complaints += [*check_text(name, text), *check_structs(name, text, used)]
    if root == ROOT:
        complaints += [
            f"{key} needs no exception any more: take it off MORE_MEMBERS."
            for key in sorted(_EXCUSED - used)
        ]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"shape: {count} files, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
