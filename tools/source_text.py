"""Reads the project's sources the way its checks need them: which files, and what is a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

CPP_SUFFIXES = {".h", ".hh", ".hpp", ".ipp", ".inc", ".c", ".cc", ".cpp", ".cu", ".cuh"}
_SKIPPED_FOLDERS = {"build", "dist", "__pycache__", "node_modules"}

# A literal is matched so that what looks like a comment inside it is not taken for one.
_CPP_TOKEN = re.compile(
    r"""(?P<raw>\bu?8?[LU]?R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)")
      |(?P<literal>"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*')
      |(?P<block>/\*.*?(?:\*/|\Z))
      |(?P<line>//(?:\\\n|[^\n])*)""",
    re.VERBOSE | re.DOTALL,
)


def source_files(root: Path) -> Iterator[Path]:
    """All files below `root`, without hidden folders (but .ci) and what builds leave there."""
    for path in sorted(root.iterdir()):
        if path.is_dir():
            skipped = path.name in _SKIPPED_FOLDERS or path.name.endswith(".egg-info")
            if not skipped and (not path.name.startswith(".") or path.name == ".ci"):
                yield from source_files(path)
        elif path.is_file():
            yield path


def cpp_without_comments(text: str) -> str:
    """C++ text with comments and raw strings blanked out and every line where it was."""

    def blank(match: re.Match[str]) -> str:
        if match["literal"] is not None:
            return match[0]
        return " " + "\n" * match[0].count("\n")

    return _CPP_TOKEN.sub(blank, text)


def cpp_comment_lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of each line of each comment; what follows its marks keeps its indent."""
    for match in _CPP_TOKEN.finditer(text):
        comment = match["block"] or match["line"]
        if comment is None:
            continue
        first = text.count("\n", 0, match.start()) + 1
        for offset, line in enumerate(comment.split("\n")):
            yield first + offset, line.strip().lstrip("/*").removesuffix("*/").rstrip()
