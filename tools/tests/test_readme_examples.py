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


ONE = block("python", "print(1)")


class Examples(unittest.TestCase):
    """What is taken out of a page, and what becomes of it."""

    def test_what_is_an_example_and_what_its_output(self) -> None:
        page = block("sh", "false") + "\n" + block("c", "int main;") + block("text", "alone")
        found = examples.examples("page", page + ONE + "So:\n" + block("text", "1"))
        self.assertEqual(
            [(e.language, e.where, e.expected) for e in found],
            [("c", "page:5", "alone\n"), ("python", "page:11", None)],
        )

    def test_dots_stand_for_anything(self) -> None:
        self.assertTrue(examples.matches("a ... c", "a b\nb c\n"))
        self.assertFalse(examples.matches("a", "a b"))
        self.assertFalse(examples.matches("a.c", "abc"))

    def test_the_readme_has_an_example_of_each_language(self) -> None:
        languages = {example.language for example in examples.read_examples([])}
        self.assertEqual(set(examples.LANGUAGES), languages)

    def test_what_passes_and_what_fails(self) -> None:
        tools = examples.Tools(Path("/nowhere"), sys.executable, dict(os.environ))
        for bad, page in (
            (0, ONE + block("text", "1")),
            (0, ONE),
            (0, block("console", "$ echo a; echo b", "a", "...", "$ true")),
            (1, ONE + block("text", "6")),
            (1, block("python", "raise SystemExit(1)")),
            (1, block("console", "$ echo a", "b")),
            (1, block("console", "$ false", "$ true")),
            (1, block("c", "int main(void) { return 0; }")),  # there is no library
        ):
            with self.subTest(page), contextlib.redirect_stdout(io.StringIO()):
                self.assertEqual(examples.run_all(examples.examples("page", page), tools), bad)
