"""Checks that the pages' links inside the project lead somewhere: files and headings.

Usage: check_links.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from source_text import source_files

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def anchors(text: str) -> set[str]:
    """The names by which the headings of a page are linked to."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        base = name = plain.strip().replace(" ", "-")
        count = 0
        while name in found:
            count += 1
            name = f"{base}-{count}"
        found.add(name)
    return found


def check_page(page: Path, root: Path) -> Iterator[str]:
    """The complaints about the links of the file `page`."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z][a-z0-9+.\-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        where = f"{page.relative_to(root)}: the link {target}"
        if not name:
            place = page
        else:
            place = root / name.lstrip("/") if name.startswith("/") else page.parent / name
        if not place.exists():
            yield f"{where} leads to no file."
        elif anchor and place.suffix == ".md" and anchor not in anchors(place.read_text("utf-8")):
            yield f"{where} leads to no heading."


def main(arguments: list[str]) -> int:
    """Checks every Markdown page below the root; 1 when a link leads nowhere."""
    root = Path(arguments[0]).resolve() if arguments else ROOT
    pages = [path for path in source_files(root) if path.suffix == ".md"]
    complaints = [complaint for page in pages for complaint in check_page(page, root)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    print(f"links: {len(pages)} pages, {len(complaints)} that lead nowhere")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
