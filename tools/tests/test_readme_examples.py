"""readme_examples.py must find the examples of a page, run them, and notice what they print."""

import contextlib
import io
import os
import sys
import unittest
from pathlib import Path

import readme_examples as examples


def block(language: str, *lines: str) -> str:
    """A fenced block."""
    return "\n".join([f"```{language}", *lines, "```", ""])


class Pages(unittest.TestCase):
    """What is taken out of a page."""

    def test_only_known_languages_are_examples(self) -> None:
        """Shell lines and text are for the eye; places are those of the opening fence."""
        page = block("sh", "false") + "\n" + block("c", "int main;") + block("text", "alone")
        found = examples.examples("page", page)
        self.assertEqual([("c", "page:5")], [(e.language, e.where) for e in found])

    def test_output_stands_right_behind_its_example(self) -> None:
        """Prose between them makes the block no output."""
        near = block("python", "print(1)") + "\n" + block("text", "1")
        far = block("python", "print(1)") + "So:\n" + block("text", "1")
        self.assertEqual("1\n", examples.examples("page", near)[0].expected)
        self.assertIsNone(examples.examples("page", far)[0].expected)

    def test_dots_stand_for_anything(self) -> None:
        """Within a line and across lines, but not for what is left out without them."""
        self.assertTrue(examples.matches("a ... c", "a b\nb c\n"))
        self.assertFalse(examples.matches("a", "a b"))
        self.assertFalse(examples.matches("a.c", "abc"))

    def test_own_pages_hold_every_language(self) -> None:
        """The README keeps its promise to have an example of each."""
        languages = {example.language for example in examples.read_examples([])}
        self.assertEqual(set(examples.LANGUAGES), languages)


class Runs(unittest.TestCase):
    """What happens to an example."""

    def failures(self, page: str) -> int:
        """How many examples of the page fail."""
        tools = examples.Tools(Path("/nowhere"), sys.executable, dict(os.environ))
        with contextlib.redirect_stdout(io.StringIO()):
            return examples.run_all(examples.examples("page", page), tools)

    def test_what_should_pass(self) -> None:
        """Scripts and commands that end well and print what the page says, if it says."""
        self.assertEqual(0, self.failures(block("python", "print(1 + 1)") + block("text", "2")))
        self.assertEqual(0, self.failures(block("python", "print(1 + 1)")))
        self.assertEqual(
            0, self.failures(block("console", "$ echo a; echo b", "a", "...", "$ true"))
        )

    def test_what_should_fail(self) -> None:
        """Other output, a bad status, also of a command that is not the last, a missing library."""
        for page in [
            block("python", "print(5)") + block("text", "6"),
            block("python", "raise SystemExit(1)"),
            block("console", "$ echo a", "b"),
            block("console", "$ false", "$ true"),
            block("c", "int main(void) { return 0; }"),
        ]:
            with self.subTest(page):
                self.assertEqual(1, self.failures(page))
