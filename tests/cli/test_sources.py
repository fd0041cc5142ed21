"""Each large header is included by at most one source of the command line."""

from __future__ import annotations

import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / name for name in ("bench", "cli", "cli/core")]


class SourcesTest(unittest.TestCase):
    def test_large_headers_are_included_once(self) -> None:
        for header, wanted in (
            ("<CLI/", ["parser.cpp"]),
            ("<nlohmann/", ["json.cpp"]),
            # fmt/core.h declares what is compiled in its library; these define it once more.
            ("<fmt/format.h>", []),
            ("<fmt/ranges.h>", []),
            ("<fmt/chrono.h>", []),
        ):
            paths = [path for folder in FOLDERS for path in sorted(folder.iterdir())]
            sources = [path for path in paths if path.suffix in (".h", ".cpp")]
            self.assertTrue(sources)
            found = [path.name for path in sources if f"#include {header}" in path.read_text()]
            self.assertEqual(found, wanted, header)
            # Nor is it precompiled, which would make every file pay for it.
            for folder in FOLDERS:
                self.assertNotIn(header, (folder / "CMakeLists.txt").read_text())


if __name__ == "__main__":
    unittest.main()
