"""What a source of the command line may cost: large headers stand in one file each."""

from __future__ import annotations

import unittest
from pathlib import Path

CLI = Path(__file__).resolve().parents[2] / "cli"


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
            sources = [path for path in sorted(CLI.iterdir()) if path.suffix in (".h", ".cpp")]
            self.assertTrue(sources)
            found = [path.name for path in sources if f"#include {header}" in path.read_text()]
            self.assertEqual(found, wanted, header)
            # Nor is it precompiled, where each file would pay for it.
            self.assertNotIn(header, (CLI / "CMakeLists.txt").read_text())


if __name__ == "__main__":
    unittest.main()
