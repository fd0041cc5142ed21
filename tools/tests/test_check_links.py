"""check_links.py must find links that lead nowhere."""

import tempfile
import unittest
from pathlib import Path

import check_links


class Links(unittest.TestCase):
    """One page among others."""

    def count(self, text: str) -> int:
        """How many complaints a page of that text gets."""
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            (root / "docs").mkdir()
            (root / "docs/other.md").write_text("# Who sees whom?\n")
            (root / "page.md").write_text(text)
            return len(list(check_links.check_page(root / "page.md", root)))

    def test_links_that_lead_somewhere(self) -> None:
        """Files, headings, the web, and text that only looks like a link."""
        for text in [
            "[a](docs/other.md)",
            "[a](docs/other.md#who-sees-whom)",
            "## Here it is\n[a](#here-it-is)",
            "[a](https://example.org/nothing)",
            "```\n[a](gone.md)\n```\n",
            "[![badge](docs/other.md)](docs)",
        ]:
            with self.subTest(text=text):
                self.assertEqual(self.count(text), 0)

    def test_links_that_lead_nowhere(self) -> None:
        """A file, a heading of another page, a heading of this page."""
        for text in ["[a](gone.md)", "[a](docs/other.md#gone)", "[a](#gone)", "![plot](gone.svg)"]:
            with self.subTest(text=text):
                self.assertEqual(self.count(text), 1)


if __name__ == "__main__":
    unittest.main()
