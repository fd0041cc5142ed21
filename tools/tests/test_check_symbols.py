"""check_symbols.py must notice what a library exports too much, and what it lacks."""

import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import check_symbols


@unittest.skipUnless(shutil.which("cc"), "needs a compiler")
class Symbols(unittest.TestCase):
    """A library of two symbols against lists."""

    def test_both_directions(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        source, library, listing = folder / "a.c", folder / "liba.so", folder / "list"
        source.write_text("int tw_a(void) { return 1; }\nint stray(void) { return 2; }\n")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        for names, status in (("tw_a stray", 0), ("tw_a", 1), ("tw_a stray gone", 1)):
            listing.write_text("\n".join(names.split()))
            self.assertEqual(check_symbols.main([str(library), str(listing)]), status)
