"""Checks words: names that only CUDA compilers know, in kernels, and words with one meaning.

Kernels of the GPU use the machine only through the functions of device/. Each of these functions
has a second body for the processor, where tests run kernels. Therefore kernels/ and core, which run
on the device, have no inline assembly, and kernels/ has no name that only a CUDA compiler knows.

In src some words have one meaning and occur only where they have it (docs/architecture.md); others
are second names of things and occur nowhere. Usage: check_words.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from source_text import CPP_SUFFIXES, cpp_without_comments, source_files

ROOT = Path(__file__).resolve().parent.parent
KERNELS = "src/backends/cuda/kernels/"
ON_DEVICE = (KERNELS, "src/core/")
GPU = "src/backends/cuda/"
# A word as a name or as a part of one, the paths it may stand in, and what it means there.
ONE_MEANING: dict[str, tuple[tuple[str, ...], str]] = {
    "shares?": (
        ("src/parallel/", KERNELS + "sm80/", GPU + "driver/device."),
        "a thread's part of the tasks, or of a tile that its block loads",
    ),
    "turns?": (
        ("src/backends/cpu/backward/key_pass.h", KERNELS + "sm80/backward", GPU + "sm80_backward."),
        "when a range of keys may add to a gradient",
    ),
    "slant": ((), "call it softcap_derivative"),
    "stair": ((), "call it exp2_table"),
    "scar|wound|wounds|wounded": ((), "call it a mutant, in tests/mutants"),
    "few": ((GPU,), "call it decode, or say what there are few of"),
}

_ASSEMBLY = re.compile(r"\b(?:asm|__asm__|__asm)\b")
# __shfl_sync, __syncthreads, __shared__, threadIdx and the like; builtins are every compiler's.
_MACHINE = re.compile(
    r"\b(?:__(?!builtin_)[a-z]\w*|(?:thread|block)Idx|(?:block|grid)Dim|atomic[A-Z]\w*)\b"
)
_ONE_MEANING = {re.compile(word): where for word, where in ONE_MEANING.items()}
_NAME = re.compile(r"\b[A-Za-z_]\w*\b")
# first_share and kFirstShare have share; shared has not.
_PART_OF_A_NAME = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"')


def check_file(path: str, text: str) -> list[str]:
    """The complaints about the file `path` (relative to the root) that holds `text`."""
    return [*check_machine(path, text), *check_meaning(path, text)]


def check_meaning(path: str, text: str) -> list[str]:
    """Complaints about words that occur where they would have a second meaning."""
    if not path.startswith("src/"):
        return []
    code = _LITERAL.sub('""', cpp_without_comments(text))
    return [
        f"{path}:{code.count(chr(10), 0, match.start()) + 1}: {match[0]}: {meaning}"
        + (f" in {' and '.join(places)}, and nothing else." if places else ".")
        for match in _NAME.finditer(code)
        for word, (places, meaning) in _ONE_MEANING.items()
        if not path.startswith(places)
        and any(word.fullmatch(part.lower()) for part in _PART_OF_A_NAME.findall(match[0]))
    ]


def check_machine(path: str, text: str) -> list[str]:
    """Complaints about names that only a CUDA compiler knows, in what runs on the device."""
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
    """Checks every C++ file of src; 1 when there is a complaint, or no kernel to check."""
    root = Path(arguments[0]).resolve() if arguments else ROOT
    files = {
        path.relative_to(root).as_posix(): path.read_text()
        for path in source_files(root)
        if path.suffix in CPP_SUFFIXES and path.relative_to(root).as_posix().startswith("src/")
    }
    complaints = [complaint for path, text in files.items() for complaint in check_file(path, text)]
    if not any(path.startswith(KERNELS) for path in files):
        complaints.append(f"{KERNELS} has no files.")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"words: {len(files)} files, {len(complaints)} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
