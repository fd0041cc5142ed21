"""check_symbols.py must notice what is exported too much and what is missing."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import check_symbols


class Symbols(unittest.TestCase):
    """Lists against lists, and against a real library."""

    def test_both_directions(self) -> None:
        """Too many and too few."""
        self.assertEqual(check_symbols.complaints({"tw_a"}, {"tw_a"}), [])
        self.assertEqual(len(check_symbols.complaints({"tw_a", "_ZN1aE"}, {"tw_a"})), 1)
        self.assertEqual(len(check_symbols.complaints(set(), {"tw_a"})), 1)

    @unittest.skipUnless(shutil.which("cc"), "needs a compiler")
    def test_a_real_library(self) -> None:
        """A library with one symbol that is not on the list makes the exit status 1."""
        with tempfile.TemporaryDirectory() as folder:
            source, library, listing = (Path(folder) / name for name in ("a.c", "liba.so", "list"))
            source.write_text("int tw_a(void) { return 1; }\nint stray(void) { return 2; }\n")
            subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
            listing.write_text("tw_a\nstray\n")
            self.assertEqual(check_symbols.main([str(library), str(listing)]), 0)
            listing.write_text("tw_a\n")
            self.assertEqual(check_symbols.main([str(library), str(listing)]), 1)


if __name__ == "__main__":
    unittest.main()
