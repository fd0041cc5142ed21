"""Checks that no instruction set leaks out of the objects that are compiled for it.

An object of an instruction set, below backends/cpu/isa/, must define tables that are constant when
the program is loaded, and no other symbol that is global or weak: the linker might take a weak
function of this object for the whole program, and code that fills a table would run on every
machine. LIMITS says which instructions such an object may have. All other objects may have only
the baseline of x86-64 (and tzcnt, which older machines run as bsf). Usage: check_isa.py OBJECT...
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

FOLDER = "backends/cpu/isa/"
DISPATCH = "isa"  # the file of that folder that chooses among the others
# What an object may have beyond the baseline; one that is not named here may have anything.
LIMITS = {
    "portable": set[str](),
    "avx2": {"SSE4", "AVX"},
    "avx512": {"SSE4", "AVX", "AVX512"},
    "avx512_bf16": {"SSE4", "AVX", "AVX512", "BF16"},
}
SHOWN = 3  # instructions of one object

_AVX512 = re.compile(r"%zmm|%k[0-7]|%[xy]mm(?:1[6-9]|2\d|3[01])\b")
_AMX = re.compile(r"%tmm|\b(?:ld|st)tilecfg\b|\btilerelease\b")
_AVX = re.compile(r"%ymm")
_BF16 = re.compile(r"\bv(?:dpbf16ps|cvtne2?ps2(?:bf16|pbh))")
_BMI = re.compile(
    r"^(?:andn|bextr|bls[ir]|blsmsk|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt)[lqw]?\b"
)
_SSE4 = re.compile(
    r"^(?:popcnt|crc32|ptest|pblend|blend|round[ps][sd]|dpp[sd]|pinsr[bdq]|pextr[bdq]|insertps"
    r"|extractps|pmulld|pmuldq|pm(?:ax|in)(?:s[bd]|u[dw])|pmov[sz]x|pcmp(?:eqq|gtq|[ei]str)"
    r"|packusdw|movntdqa|mpsadbw|phminpos|pshufb|palignr|ph(?:add|sub)|pabs|psign|pmaddubsw"
    r"|pmulhrsw|h(?:add|sub)p|addsubp|movs[hl]dup|movddup|lddqu)"
)
_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(?P<text>\S.*?)\s*$")


class Wide(NamedTuple):
    """An instruction that not every machine has."""

    kind: str  # "SSE4", "BMI", "AVX", "AVX512", "BF16", "AMX"
    text: str


def isa_name(path: str) -> str | None:
    """The instruction set that an object is compiled for: "avx2"; None of all others."""
    folder, _, file = path.replace("\\", "/").rpartition("/")
    name = file.split(".")[0]
    is_isa = f"/{folder}/".endswith(f"/{FOLDER}") and name != DISPATCH
    return name if is_isa else None


def kind_of(instruction: str) -> str:
    """What an instruction needs beyond the baseline; "" for none."""
    if _AMX.search(instruction):
        return "AMX"
    if _BF16.search(instruction):
        return "BF16"
    if _AVX512.search(instruction):
        return "AVX512"
    if _BMI.search(instruction):
        return "BMI"
    if _SSE4.search(instruction):
        return "SSE4"
    # Vector instructions with a VEX prefix begin with v, on xmm as on ymm.
    mnemonic = instruction.split()[0]
    is_vex = mnemonic.startswith("v") and not mnemonic.startswith("ver")
    return "AVX" if is_vex or _AVX.search(instruction) else ""


def wide_instructions(listing: Iterable[str]) -> list[Wide]:
    """The wide instructions in a listing of objdump without bytes."""
    found = []
    for line in listing:
        match = _INSTRUCTION.match(line)
        if match is None:
            continue
        # Text behind # is an address, in <> a name.
        text = re.sub(r"\s+", " ", match["text"].split("#")[0].split("<")[0]).strip()
        kind = kind_of(text) if text else ""
        if kind:
            found.append(Wide(kind, text))
    return found


def instruction_complaints(path: str, wide: list[Wide]) -> list[str]:
    """One sentence when an object has instructions that it must not have."""
    name = isa_name(path)
    if name is not None and name not in LIMITS:
        return []
    allowed = LIMITS[name] if name is not None else set()
    bad = [each.text for each in wide if each.kind not in allowed]
    if not bad:
        return []
    return [f"{path} has {len(bad)} instructions beyond its machine: {'; '.join(bad[:SHOWN])}."]


def symbol_complaints(path: str, listing: str) -> list[str]:
    """What is wrong with the symbols of an instruction set's object, from nm's posix format."""
    if isa_name(path) is None:
        return []
    symbols = [line.split()[:2] for line in listing.splitlines() if len(line.split()) > 1]
    shared = [name for name, kind in symbols if kind in "WwVvu"]
    tables = [name for name, kind in symbols if kind in "DR"]
    others = [name for name, kind in symbols if kind.isupper() and kind not in "DRWVUN"]
    found = [f"{path} shares {name} with other objects: inline it always." for name in shared]
    found += [f"{path} defines {name}, which is no table that is ready." for name in others]
    if not tables:
        found.append(f"{path} defines no table.")
    return found


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def complaints(path: str) -> list[str]:
    """Everything that is wrong with one object."""
    symbols = _said("nm", "--defined-only", "--format=posix", path)
    listing = _said("objdump", "--disassemble", "--no-show-raw-insn", path)
    wide = wide_instructions(listing.splitlines())
    found = symbol_complaints(path, symbols) + instruction_complaints(path, wide)
    if isa_name(path) not in (None, "portable") and not wide:
        found.append(f"{path} has no wide instruction: was it compiled without its options?")
    return found


def main(arguments: list[str]) -> int:
    """1 when something leaks, or when there was nothing to check."""
    objects = [path for path in arguments if Path(path).suffix == ".o"]
    sets = [path for path in objects if isa_name(path) is not None]
    found = [complaint for path in objects for complaint in complaints(path)]
    if not sets:
        found.append("Among the objects there is none of an instruction set.")
    for complaint in found:
        print(complaint, file=sys.stderr)
    print(f"isa: {len(objects)} objects, {len(sets)} of instruction sets, {len(found)} complaints")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
