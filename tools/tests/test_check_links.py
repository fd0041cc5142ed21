"""check_links.py must find links that lead nowhere."""

import tempfile
import unittest
from pathlib import Path

import check_links

PAGES = {
    "[a](docs/other.md)": 0,
    "[a](docs/other.md#who-sees-whom)": 0,
    "## Here it is\n[a](#here-it-is)": 0,
    "[a](https://example.org/nothing)": 0,
    "```\n[a](gone.md)\n```\n": 0,
    "[![badge](docs/other.md)](docs)": 0,
    "[a](gone.md)": 1,
    "[a](docs/other.md#gone)": 1,
    "[a](#gone)": 1,
    "![plot](gone.svg)": 1,
}


class Links(unittest.TestCase):
    """A page whose links lead to another one."""

    def test_each(self) -> None:
        root = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        (root / "docs").mkdir()
        (root / "docs/other.md").write_text("# Who sees whom?\n")
        for text, bad in PAGES.items():
            with self.subTest(text=text):
                (root / "page.md").write_text(text)
                self.assertEqual(len(list(check_links.check_page(root / "page.md", root))), bad)
                self.assertEqual(check_links.main([str(root)]), bad)
