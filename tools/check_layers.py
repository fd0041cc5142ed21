"""Checks that includes go one way.

    core, parallel <- problem <- plan <- backends <- api <- {C++ header, command line, Python}
                                 host <- plan, and the processor's backends

    cli/core <- bench <- cli/bench.cpp, of the commands the one that measures

The functions of host, and those in the headers of problem that _READS_TABLES names, read the
caller's memory on the processor, so a backend of another device may include none of them.

A rule looks only at the text of an include: whether the included file exists does not matter.
Usage: check_layers.py [ROOT]
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from source_text import CPP_SUFFIXES, cpp_without_comments, source_files

ROOT = Path(__file__).resolve().parent.parent

# For each part of the tree the folders of the project from which it may include. "tilewise" is the
# C header, which only declares; all layers but core use its types.
_PARALLEL = ["parallel", "tilewise"]
_PROBLEM = ["core", *_PARALLEL, "problem"]
_HOST = [*_PROBLEM, "host"]
_PLAN = [*_PROBLEM, "plan"]
ALLOWED: dict[str, list[str]] = {
    "src/core": ["core"],
    "src/parallel": _PARALLEL,
    "src/problem": _PROBLEM,
    "src/host": _HOST,
    "src/plan": [*_PLAN, "host"],
    # Each also its own backend, see _is_allowed.
    "src/backends/cpu": [*_PLAN, "host"],
    "src/backends/plain": [*_PLAN, "host"],
    "src/backends": _PLAN,
    "src/api": [*_PLAN, "backends", "api"],
    "include/tilewise": ["tilewise"],
    "cli/core": ["tilewise", "cli/core"],
    # Also bench for the command of that name, see _is_allowed.
    "cli": ["tilewise", "cli", "oracle", "conformance"],
    "python": ["tilewise", "python"],
    "bench": ["tilewise", "bench", "cli/core"],
    "tests/oracle": ["oracle"],
    "tests/conformance": ["tilewise", "oracle", "conformance"],
    "tests/consumers": ["tilewise"],
}
# Headers that follow the caller's pointers on the processor.
_READS_TABLES = {"problem/place.h", "problem/sequences.h", "problem/cache.h"}
# The one command that may include bench.
_MEASURES = "cli/bench.cpp"
SOURCE_LAYERS = [part for part in ALLOWED if part.startswith("src/")]
LAYERS = {
    "core", "parallel", "problem", "host", "plan", "backends", "api",
    "src", "include", "tilewise", "cli", "python", "bench", "oracle", "tests",
    "conformance",
}  # fmt: skip
# Core is read by NVRTC, which has no standard library; the C header may ask for C's own two.
_SYSTEM_HEADERS_ALLOWED: dict[str, set[str]] = {
    "src/core": set(),
    "include/tilewise/tilewise.h": {"stddef.h", "stdint.h"},
}
_INCLUDE = re.compile(
    r"^[ \t]*(?:\#|%:)[ \t]*(?:include|include_next|import)\b[ \t]*(?P<target>[^\n]*)", re.MULTILINE
)


def _part_of(path: str) -> str | None:
    """The entry of ALLOWED that `path` lies in."""
    return next((part for part in ALLOWED if path.startswith(part + "/")), None)


def _is_allowed(path: str, part: str, target: str) -> bool:
    layer = target.split("/")[0]
    if part.startswith("src/backends") and layer == "backends":
        return target.split("/")[:2] == path.split("/")[1:3]
    if target in _READS_TABLES and part == "src/backends":
        return False
    if path == _MEASURES and layer == "bench":
        return True
    return any(target.startswith(folder + "/") for folder in ALLOWED[part])


def _complaint(path: str, part: str, target: str) -> str | None:
    """Why the file `path` may not have `#include target`; None when it may."""
    match = re.match(r'"([^"]*)"|<([^>]*)>', target)
    if match is None:
        return "names no file: write the path out, so that it can be checked"
    name = match[1] or match[2] or ""
    if posixpath.normpath(name) != name or name.startswith(".."):
        return "is not a plain path: write it from src/, without `.`, `..` or doubled slashes"
    if match[2] is not None and name.split("/")[0] not in LAYERS:
        for place, headers in _SYSTEM_HEADERS_ALLOWED.items():
            if (path == place or path.startswith(place + "/")) and name not in headers:
                return f"is a system header, which {place} does without"
        return None
    if _is_allowed(path, part, name):
        return None
    if part.startswith("src/backends") and name.startswith("backends/"):
        return "is another backend's: what two backends share belongs below them"
    if name.split("/")[0] not in LAYERS:
        return "begins with no folder of the project: write it from src/, tests/ or include/"
    return f"points the wrong way: {part} may include {', '.join(ALLOWED[part])}"


def check_file(path: str, text: str) -> list[str]:
    """The complaints about the file `path` (relative to the root) that holds `text`."""
    part = _part_of(path)
    if part is None:
        stray = path.startswith("src/")
        return [f"{path}: lies in no layer: {', '.join(SOURCE_LAYERS)}."] if stray else []
    code = cpp_without_comments(text.replace("\\\r\n", "").replace("\\\n", ""))
    complaints = []
    for match in _INCLUDE.finditer(code):
        target = match["target"].strip()
        complaint = _complaint(path, part, target)
        if complaint:
            complaints.append(f"{path}: #include {target} {complaint}.")
    return complaints


def main(arguments: list[str]) -> int:
    """Checks every C++ and CUDA file below the root; 1 when an include goes the wrong way."""
    root = Path(arguments[0]).resolve() if arguments else ROOT
    files = [path for path in source_files(root) if path.suffix in CPP_SUFFIXES]
    complaints = [
        complaint
        for path in files
        for complaint in check_file(path.relative_to(root).as_posix(), path.read_text())
    ]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"layers: {len(files)} files, {len(complaints)} wrong includes")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
