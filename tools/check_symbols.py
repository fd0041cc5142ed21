"""Compares what a shared library exports with the list of what it may export.

Usage: check_symbols.py LIBRARY LIST [NM]; LIST holds one name a line.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def exported_symbols(library: str, nm: str = "nm") -> set[str]:
    """The names of the dynamic symbols that `library` defines."""
    command = [nm, "--dynamic", "--defined-only", "--format=posix", library]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in listing.splitlines() if line.strip()}


def complaints(exported: set[str], wanted: set[str]) -> list[str]:
    """One sentence for each name that is on one side only."""
    extra = [f"{name} is exported but not on the list." for name in sorted(exported - wanted)]
    lost = [f"{name} is on the list but not exported." for name in sorted(wanted - exported)]
    return extra + lost


def main(arguments: list[str]) -> int:
    """1 when the library and the list differ."""
    library, listing, *nm = arguments
    wanted = set(Path(listing).read_text().split())
    exported = exported_symbols(library, *nm)
    found = complaints(exported, wanted)
    for complaint in found:
        print(complaint, file=sys.stderr)
    print(f"symbols: {len(exported)} exported, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
