"""Runs a program for which `import flash_attn` means tilewise.flash_attn.

    python -m tilewise.flash_attn script.py [argument ...]
    python -m tilewise.flash_attn -m module [argument ...]
    python -m tilewise.flash_attn -c code [argument ...]

As for Python itself, - is a script that is read from standard input. Processes that the program
starts, such as workers, have TILEWISE_FLASH_ATTN=1 in their environment: if tilewise is installed,
`import flash_attn` then means tilewise.flash_attn in them, too.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import ModuleType

from _tilewise_stand_in import install


def main(arguments: list[str]) -> int:
    """Runs what `arguments` name; 2 when they name nothing."""
    if not arguments or arguments[0] in ("-h", "--help") or arguments in (["-m"], ["-c"]):
        print(__doc__)
        return 0 if arguments and arguments[0] not in ("-m", "-c") else 2
    first, rest = arguments[0], arguments[1:]
    if first not in ("-m", "-c", "-") and not Path(first).exists():
        said = f"there is no file {first}."
        if first.startswith("-"):
            said = f"{first} is no option of it; those of Python go before -m."
        print(f"tilewise.flash_attn: {said}", file=sys.stderr)
        return 2
    install()
    os.environ["TILEWISE_FLASH_ATTN"] = "1"
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return 0
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        _run(rest[0], "<string>")
        return 0
    sys.argv = arguments
    if first == "-":
        _run(sys.stdin.read(), "<stdin>")
        return 0
    if not getattr(sys.flags, "safe_path", False):  # else Python has put no folder there
        sys.path[0] = str(Path(first).resolve().parent)
    runpy.run_path(str(Path(first).absolute()), run_name="__main__")  # __file__ is absolute
    return 0


def _run(code: str, where: str) -> None:
    """Runs code as Python runs -c and -: in a module __main__, with "" in sys.path."""
    module = sys.modules["__main__"] = ModuleType("__main__")
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = ""
    exec(compile(code, where, "exec", dont_inherit=True), module.__dict__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
