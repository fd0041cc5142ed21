"""Reads tests/mutants: changes of the sources that make a kernel wrong, and some that are harmless.

Each file of that folder has the mutants of one part of the sources, a table each:

    [last-key-dropped]
    wrong = "No row sees the last key of its sequence."
    file = "src/core/mask.h"
    text = "return clip(position(query), left, right, 0, keys);"
    becomes = "return clip(position(query), left, right, 0, keys - 1);"
    caught_by = ["core's mask", "Decoding.StepByStepGivesWhatOneCallGives"]

`text` must occur in `file` once; white space does not count. A mutant that changes several places
has, in place of `text` and `becomes`, a list `changes` of such pairs. `harmless` in place of
`wrong` says that no check may notice the mutant.
`include` names a header that `becomes` needs; the header lies beside the list.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from mutant_text import ChangeError, switch, write

ROOT = Path(__file__).resolve().parent.parent
LIST = Path("tests/mutants")  # in the root
# The header that asks whether a mutant is chosen. It is in core, because a GPU's compiler gets
# core's headers, too.
SWITCH = "core/mutated.h"
_KEYS = {"wrong", "harmless", "file", "text", "becomes", "changes", "include", "caught_by"}
# What the copy of the sources leaves out.
_LEFT_OUT = shutil.ignore_patterns("build", ".git", ".*_cache", "__pycache__", "*.so")


class Mutant(NamedTuple):
    """A change of one file that makes the library wrong, or leaves it right."""

    number: int  # from 1, in the order of the list
    name: str  # core/last-key-dropped
    sentence: str
    is_harmless: bool
    file: str
    changes: list[tuple[str, str]]
    include: str = ""
    caught_by: frozenset[str] = frozenset()

    @property
    def backend(self) -> str:
        """The backend that runs with the mutant: the one whose file it changes, or plain."""
        folder = self.file.removeprefix("src/backends/").split("/")[0]
        return folder if folder in {"cpu", "cuda"} else "plain"


def read_list(root: Path = ROOT) -> list[Mutant]:
    """All mutants, file by file."""
    mutants: list[Mutant] = []
    for path in sorted((root / LIST).glob("*.toml")):
        for name, row in tomllib.loads(path.read_text()).items():
            mutants.append(_mutant(len(mutants) + 1, f"{path.stem}/{name}", row))
    return mutants


def _mutant(number: int, name: str, row: dict[str, Any]) -> Mutant:
    if unknown := row.keys() - _KEYS:
        raise ChangeError(f"{name} has no such key: {', '.join(sorted(unknown))}")
    try:
        changes = row["changes"] if "changes" in row else [(row["text"], row["becomes"])]
        return Mutant(
            number,
            name,
            row["harmless"] if "harmless" in row else row["wrong"],
            "harmless" in row,
            row["file"],
            [(text, becomes) for text, becomes in changes],
            row.get("include", ""),
            frozenset(row.get("caught_by", [])),
        )
    except KeyError as missing:
        raise ChangeError(f"{name} lacks the key {missing}") from None


def mutated(file: str, text: str, mutants: Iterable[Mutant]) -> str:
    """The text of `file` with a switch for each of the mutants that change it."""
    switches = []
    includes = {SWITCH}
    for mutant in mutants:
        if mutant.file != file:
            continue
        for old, new in mutant.changes:
            try:
                switches.append(switch(text, old, new, mutant.number))
            except ChangeError as reason:
                raise ChangeError(f"{mutant.name}: {file}: {reason}") from None
        if mutant.include:
            includes.add(mutant.include)
    try:
        written = write(text, switches)
    except ChangeError as reason:
        raise ChangeError(f"{file}: {reason}") from None
    return "".join(f'#include "{name}"\n' for name in sorted(includes)) + written


def write_copy(root: Path, copy: Path, mutants: list[Mutant]) -> None:
    """Writes a copy of the tree with all mutants; unchanged files are not written again."""
    wanted: dict[str, bytes] = {}
    for path in _files(root):
        wanted[path.relative_to(root).as_posix()] = path.read_bytes()
    for header in sorted((root / LIST).glob("*.h")):
        folder = "src/core" if header.name == Path(SWITCH).name else "src"
        wanted[f"{folder}/{header.name}"] = header.read_bytes()
    for file in {mutant.file for mutant in mutants}:
        wanted[file] = mutated(file, (root / file).read_text(), mutants).encode()
    for path in _files(copy) if copy.exists() else []:
        if path.relative_to(copy).as_posix() not in wanted:
            path.unlink()
    for file, content in wanted.items():
        path = copy / file
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _files(folder: Path) -> Iterable[Path]:
    names = sorted(path.name for path in folder.iterdir())
    left_out = _LEFT_OUT(str(folder), names)
    for name in names:
        path = folder / name
        if name in left_out:
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path
