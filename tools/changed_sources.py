"""Prints the source files that clang-tidy should read: those that changed, or all.

Usage: changed_sources.py [--all] COMPILE_COMMANDS. Changed means: since the commit that
TILEWISE_BASE names; else since this branch left main; else, on main itself, since a day before the
newest commit. A changed header is read through one source file that includes it. When
git knows no such commit, or the rules of clang-tidy changed, all files are read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("src/", "cli/", "bench/", "include/")
RULES = {".clang-tidy"}
# Where an include may begin.
_ROOTS = ("src/", "include/", "tests/", "")
_MAIN = ("origin/HEAD", "origin/main", "main")
_OF_HOOKS = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
_DAY = 24 * 60 * 60
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', re.MULTILINE)


def _git(root: Path, *words: str) -> str | None:
    if not shutil.which("git"):
        return None
    # A git hook's variables name the hook's repository, which may be another one.
    environment = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    done = subprocess.run(
        ["git", "-C", str(root), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def base_of(root: Path, named: str | None) -> str | None:
    """The commit since which files count as changed; None when there is none."""
    if named:
        return _git(root, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}")
    head = _git(root, "rev-parse", "HEAD")
    for main in _MAIN:
        left = _git(root, "merge-base", "HEAD", main)
        if left and left != head:
            return left
    newest = _git(root, "log", "-1", "--format=%ct")
    if not newest:
        return None
    return _git(root, "rev-list", "-1", f"--before={int(newest) - _DAY}", "HEAD") or None


def changed_since(root: Path, base: str) -> set[str] | None:
    """The files that differ from `base`, including files that git does not track yet."""
    known = _git(root, "diff", "--name-only", "--no-renames", "--relative", base)
    new = _git(root, "ls-files", "--others", "--exclude-standard")
    if known is None or new is None:
        return None
    return {*known.splitlines(), *new.splitlines()}


def includes_of(root: Path, files: list[str]) -> dict[str, set[str]]:
    """For each source file all files of the project that it includes, itself among them."""
    direct: dict[str, list[str]] = {}

    def read(file: str) -> list[str]:
        if file not in direct:
            names = _INCLUDE.findall((root / file).read_text(errors="replace"))
            places = ([place + name for place in _ROOTS] for name in names)
            found = (next((p for p in place if (root / p).is_file()), None) for place in places)
            direct[file] = [path for path in found if path]
        return direct[file]

    reached = {}
    for file in files:
        seen, waiting = {file}, [file]
        while waiting:
            fresh = {*read(waiting.pop())} - seen
            seen |= fresh
            waiting.extend(fresh)
        reached[file] = seen
    return reached


def enough(includes: Mapping[str, set[str]], changed: set[str]) -> list[str]:
    """The changed source files, and as few others as include every changed header."""
    chosen = [file for file in includes if file in changed]
    unseen = {file for file in changed if file.startswith(PARTS)}
    unseen -= set[str]().union(*(includes[file] for file in chosen))
    while unseen:
        best = max(includes, key=lambda file: len(includes[file] & unseen), default=None)
        if best is None or not includes[best] & unseen:
            break  # what nobody includes cannot be read
        chosen.append(best)
        unseen -= includes[best]
    return sorted(chosen)


def sources_in(commands: str, root: Path) -> list[str]:
    """The files of the library and the command line that are compiled for this processor."""
    paths = (Path(entry["file"]) for entry in json.loads(commands))
    names = {path.relative_to(root).as_posix() for path in paths if path.is_relative_to(root)}
    return sorted(name for name in names if name.startswith(PARTS))


def main(arguments: list[str]) -> int:
    """Prints a file a line; their number goes to standard error."""
    sources = sources_in(Path(arguments[-1]).read_text(), ROOT)
    base = None if "--all" in arguments else base_of(ROOT, os.environ.get("TILEWISE_BASE"))
    changed = changed_since(ROOT, base) if base else None
    if base is None or changed is None or changed & RULES:
        chosen, reason = sources, "all"
    else:
        chosen, reason = enough(includes_of(ROOT, sources), changed), f"changed since {base[:7]}"
    print("\n".join(chosen))
    print(f"{len(chosen)} of {len(sources)} files: {reason}", file=sys.stderr)
    return 0 if sources else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
