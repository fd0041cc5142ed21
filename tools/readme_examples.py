#!/usr/bin/env python3
"""Takes the examples out of the pages and runs them against an installed Tilewise.

    tools/readme_examples.py --build FOLDER [--python EXE] [PAGE ...]

It installs the build into a fresh folder, DIR.
Blocks fenced as ```c and ```cpp are whole programs: they are compiled against DIR (by the installed
tilewise.pc where pkg-config is there) and run. ```python blocks are whole scripts for EXE. Lines of
a ```console block that begin with "$ " are commands; DIR/bin comes first on their PATH. A ```text
block right behind an example, and the other lines of a console block, are what it prints: compared
line by line, where "..." stands for anything. Without PAGE: README.md and docs/algorithm.md.
Exit status 0: every example ran and printed that; 1: one did not; 2: wrong use.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/algorithm.md")
LANGUAGES = ("c", "cpp", "python", "console")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
FENCE = re.compile(r"^```(\S*)\s*$")


@dataclass
class Example:
    language: str
    where: str
    text: str
    expected: str | None = None


@dataclass
class Tools:
    prefix: Path
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)


class ExampleError(Exception):
    pass


def blocks(text: str) -> list[tuple[int, str, str, bool]]:
    """The fenced blocks of a page: line number, language, content, and whether only blank lines
    separate it from the block before."""
    found = []
    language = None
    near = False
    content: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        mark = FENCE.match(line)
        if language is None and mark:
            language, begin, content = mark.group(1), number, []
        elif language is not None and line.rstrip() == "```":
            found.append((begin, language, "\n".join(content) + "\n", near))
            language, near = None, True
        elif language is not None:
            content.append(line)
        elif line.strip():
            near = False
    return found


def examples(page: str, text: str) -> list[Example]:
    result: list[Example] = []
    before = ""
    for number, language, content, near in blocks(text):
        if language in LANGUAGES:
            result.append(Example(language, f"{page}:{number}", content))
        elif language == "text" and near and before in ("c", "cpp", "python"):
            result[-1].expected = content
        before = language
    return result


def matches(expected: str, printed: str) -> bool:
    """Whether printed says what expected says; "..." stands for anything, line ends included."""
    pieces = [re.escape(piece) for piece in expected.strip().split("...")]
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    return re.fullmatch(".*".join(pieces), lines, re.DOTALL) is not None


def execute(command: list[str] | str, tools: Tools, folder: Path) -> str:
    shown = command if isinstance(command, str) else shlex.join(command)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=tools.environment,
            text=True,
            timeout=300,
            shell=isinstance(command, str),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExampleError(f"$ {shown}\n{error}") from error
    if done.returncode != 0:
        raise ExampleError(f"$ {shown}\n{done.stdout}exit status {done.returncode}")
    return done.stdout


def compare(expected: str | None, printed: str) -> None:
    if expected is not None and not matches(expected, printed):
        raise ExampleError(f"the page says it prints\n{expected}but it printed\n{printed}")


def library_folders(prefix: Path) -> list[Path]:
    return sorted({path.parent for path in prefix.glob("lib*/**/libtilewise.*")})


def link_flags(tools: Tools) -> list[str]:
    """The flags to link with the installed library, from pkg-config if there is one."""
    folders = library_folders(tools.prefix)
    pages = [path.parent for path in tools.prefix.glob("**/pkgconfig/tilewise.pc")]
    if pages and shutil.which("pkg-config"):
        tools.environment["PKG_CONFIG_PATH"] = os.pathsep.join(map(str, pages))
        shared = any(not f.name.endswith(".a") for d in folders for f in d.glob("libtilewise.*"))
        command = ["pkg-config", "--cflags", "--libs", "tilewise"]
        command += [] if shared else ["--static"]
        return shlex.split(execute(command, tools, tools.prefix))
    libraries = [f"-L{folder}" for folder in folders]
    include = f"-I{tools.prefix / 'include'}"
    return [include, *libraries, "-ltilewise", "-lstdc++", "-lm", "-pthread"]


def run_compiled(example: Example, tools: Tools, folder: Path) -> None:
    source = folder / f"example.{example.language}"
    source.write_text(example.text, encoding="utf-8")
    if example.language == "c":
        compiler = [os.environ.get("CC", "cc"), "-std=c11"]
    else:
        compiler = [os.environ.get("CXX", "c++"), "-std=c++20"]
    program = str(folder / "example")
    command = [*compiler, *WARNINGS, str(source), "-o", program, *link_flags(tools)]
    execute(command, tools, folder)
    compare(example.expected, execute([program], tools, folder))


def run_console(example: Example, tools: Tools, folder: Path) -> None:
    command, said = "", ""
    for line in [*example.text.splitlines(), "$ "]:
        if not line.startswith("$ "):
            said += line + "\n"
            continue
        if command:
            printed = execute(command, tools, folder)
            compare(said or None, printed)
        command, said = line[2:], ""


def run(example: Example, tools: Tools, folder: Path) -> None:
    if example.language == "python":
        script = folder / "example.py"
        script.write_text(example.text, encoding="utf-8")
        compare(example.expected, execute([tools.python, str(script)], tools, folder))
    elif example.language == "console":
        run_console(example, tools, folder)
    else:
        run_compiled(example, tools, folder)


def run_all(chosen: list[Example], tools: Tools) -> int:
    """Runs examples one after the other, each in an empty folder; returns how many failed. The
    examples of one run share nothing but the library."""
    failed = 0
    for example in chosen:
        with tempfile.TemporaryDirectory() as folder:
            try:
                run(example, tools, Path(folder))
                print(f"  passed  {example.where} ({example.language})")
            except ExampleError as fault:
                failed += 1
                print(f"  FAILED  {example.where} ({example.language})\n{fault}")
    return failed


def environment(prefix: Path) -> dict[str, str]:
    result = dict(os.environ)
    # The pages show output of the processor, so no GPU may be used.
    result["CUDA_VISIBLE_DEVICES"] = ""
    result["PATH"] = os.pathsep.join([str(prefix / "bin"), result.get("PATH", "")])
    folders = [str(folder) for folder in library_folders(prefix)]
    name = "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH"
    result[name] = os.pathsep.join([*folders, *filter(None, [result.get(name, "")])])
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE")
    parser.add_argument("--build", type=Path, required=True, help="a build to install")
    parser.add_argument("--python", default=sys.executable, help="runs the Python examples")
    return parser.parse_args(arguments)


def read_examples(pages: list[str]) -> list[Example]:
    paths = [Path(page) for page in pages] or [ROOT / page for page in PAGES]
    found: list[Example] = []
    for path in paths:
        name = path.resolve().relative_to(ROOT) if ROOT in path.resolve().parents else path
        found += examples(str(name), path.read_text(encoding="utf-8"))
    return found


def check(options: argparse.Namespace, prefix: Path) -> int:
    """Runs the examples against the library in `prefix`; the exit status."""
    if not library_folders(prefix):
        print(f"readme_examples: {options.build} installs no libtilewise; build it first.")
        return 1
    found = read_examples(options.pages)
    missing = {*LANGUAGES} - {example.language for example in found}
    failed = run_all(found, Tools(prefix, options.python, environment(prefix)))
    for language in sorted(missing):
        print(f"  FAILED  the pages hold no {language} example")
    passed = len(found) - failed
    print(f"readme_examples: {len(found)} examples, {passed} passed, {failed} failed")
    return 1 if failed or missing else 0


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        command = ["cmake", "--install", str(options.build), "--prefix", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return check(options, Path(folder).resolve())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
