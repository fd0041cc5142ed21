"""Checks that kernels of the GPU spell the machine in the words of device/ alone.

Each word has a second body, with which tests run kernels on the processor. So what runs on the
device, kernels/ and core, has no inline assembly, and kernels/ no name that only a CUDA compiler
knows.
Usage: check_words.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from source_text import CPP_SUFFIXES, cpp_without_comments, source_files

ROOT = Path(__file__).resolve().parent.parent
KERNELS = "src/backends/cuda/kernels/"
ON_DEVICE = (KERNELS, "src/core/")

_ASSEMBLY = re.compile(r"\b(?:asm|__asm__|__asm)\b")
# __shfl_sync, __syncthreads, __shared__, threadIdx and the like; builtins are every compiler's.
_MACHINE = re.compile(
    r"\b(?:__(?!builtin_)[a-z]\w*|(?:thread|block)Idx|(?:block|grid)Dim|atomic[A-Z]\w*)\b"
)
_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"')


def check_file(path: str, text: str) -> list[str]:
    """The complaints about the file `path` (relative to the root) that holds `text`."""
    if not path.startswith(ON_DEVICE):
        return []
    code = _LITERAL.sub('""', cpp_without_comments(text))
    found = [(match, "is assembly") for match in _ASSEMBLY.finditer(code)]
    if path.startswith(KERNELS):
        machine = (match for match in _MACHINE.finditer(code) if not _ASSEMBLY.match(match[0]))
        found += [(match, "is known to CUDA compilers alone") for match in machine]
    return [
        f"{path}:{code.count(chr(10), 0, match.start()) + 1}: {match[0]} {what}: "
        "make it a word of device/, with a second body for the processor."
        for match, what in found
    ]


def main(arguments: list[str]) -> int:
    """Checks what runs on the device; 1 when there is a complaint, or nothing to check."""
    root = Path(arguments[0]).resolve() if arguments else ROOT
    files = [
        path
        for path in source_files(root)
        if path.suffix in CPP_SUFFIXES and path.relative_to(root).as_posix().startswith(ON_DEVICE)
    ]
    complaints = [
        complaint
        for path in files
        for complaint in check_file(path.relative_to(root).as_posix(), path.read_text())
    ]
    if not files:
        complaints.append(f"{KERNELS} has no files.")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"words: {len(files)} files, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
