"""./dev must refuse words that it would ignore."""

import subprocess
import unittest
from pathlib import Path

DEV = Path(__file__).resolve().parents[2] / "dev"


class Words(unittest.TestCase):
    """Words after one that takes no further words."""

    def test_a_word_too_many_is_refused(self) -> None:
        result = subprocess.run(
            ["sh", DEV, "lint", "layers", "foo"], capture_output=True, text=True, check=False
        )
        self.assertEqual(result.returncode, 2, result.stdout)
        self.assertIn("./dev has no such word: lint layers foo\n", result.stderr)


if __name__ == "__main__":
    unittest.main()
