"""`tilewise demo`, and the program that `./dev demo` builds: what they prove, and how wide."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unittest

from program import ProgramTest, environment

STYLE = re.compile(r"\x1b\[[0-9;]*[mK]")


class DemoTest(ProgramTest):
    def assert_fits(self, text: str, columns: int) -> None:
        # A progress bar ends with a carriage return, so it is a line of its own.
        for line in STYLE.sub("", text).replace("\r", "\n").splitlines():
            self.assertLessEqual(len(line), columns, line)

    def test_demo_proves(self) -> None:
        report = json.loads(self.good("demo", "--length", "128", "--json"))
        self.assertIs(report["proved"], True)
        self.assertEqual(report["problem"]["length"], 128)
        for part in ("whole", "sampled"):
            self.assertEqual(len(report["proof"][part]), 5)
            for one in report["proof"][part]:
                self.assertLessEqual(one["worst"], 1, one)
                self.assertGreater(one["elements"], 0)
        self.assertEqual(report["score_matrix_bytes"], 8 * 128 * 128 * 4)
        text = self.good("demo", "--length", "128", "--dtype", "bfloat16")
        self.assertRegex(text, r"(?m)^PROVED: ")
        self.assertNotIn("\x1b", text)

    def test_it_fits_the_terminal(self) -> None:
        words = ("demo", "--length", "128")
        self.assert_fits(self.good(*words), 80)
        for columns, said in ((0, 80), (60, 60), (200, 200)):
            text = self.on_terminal(*words, columns=columns, TERM="xterm")
            self.assert_fits(text, said)
            self.assertRegex(STYLE.sub("", text), r"(?m)^PROVED: ", columns)
            # Where there is room, explain's longest line is not broken.
            is_whole = re.search(r"traffic .*standard algorithm's N d \+ N\^2", text) is not None
            self.assertEqual(is_whole, columns == 200)

    def test_the_demo_alone(self) -> None:
        command = os.environ["TILEWISE_DEMO"]
        result = subprocess.run(
            [command], capture_output=True, text=True, check=False, timeout=300, env=environment()
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"(?m)^PROVED: ")
        self.assert_fits(result.stdout, 80)
        result = subprocess.run([command, "--json"], capture_output=True, text=True, check=False)
        self.assert_refused(result, 2, "takes no words")


if __name__ == "__main__":
    unittest.main()
