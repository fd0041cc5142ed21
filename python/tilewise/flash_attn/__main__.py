"""Runs a program for which `import flash_attn` means tilewise.flash_attn.

    python -m tilewise.flash_attn script.py [argument ...]
    python -m tilewise.flash_attn -m module [argument ...]

What the program starts in turn, worker processes and the like, has TILEWISE_FLASH_ATTN=1 in its
environment, by which an installed tilewise does the same at the start of Python.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from tilewise._stand_in import install


def main(arguments: list[str]) -> int:
    """Runs what `arguments` name; 2 when they name nothing."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments == ["-m"]:
        print(__doc__)
        return 0 if arguments and arguments != ["-m"] else 2
    install()
    os.environ["TILEWISE_FLASH_ATTN"] = "1"
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        return 0
    script = Path(arguments[0])
    if not script.exists():
        print(f"tilewise.flash_attn: there is no file {script}.", file=sys.stderr)
        return 2
    sys.argv = arguments
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
