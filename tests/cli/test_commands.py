"""The commands beside `run`: what they print, as text and as JSON, and to whom."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

from program import ProgramTest, environment, program, start

CASES = Path(__file__).resolve().parents[2] / "bench" / "cases" / "cases.json"


class CommandTest(ProgramTest):
    def test_version(self) -> None:
        text = self.good("--version")
        self.assertRegex(text, r"\Atilewise \d+\.\d+\.\d+\nlibrary .*\nbackends: .*plain\n\Z")

    def test_help_has_every_command_and_status(self) -> None:
        text = self.good("--help")
        for word in (
            "demo",
            "check",
            "explain",
            "run",
            "bench",
            "kernels",
            "completion",
            "Exit status",
            "Examples",
        ):
            self.assertIn(word, text)
        for command in ("demo", "check", "explain", "run", "bench", "kernels", "completion"):
            self.assertIn("Usage: tilewise " + command, self.good(command, "--help"))

    def test_explain(self) -> None:
        text = self.good("explain", "--case", "causal-1024")
        self.assertIn("1024 queries", text)
        plan = json.loads(self.good("explain", "--case", "causal-1024", "--heads", "3", "--json"))
        self.assertEqual((plan["heads"], plan["queries"]), (3, 1024))
        plan = json.loads(self.good("explain", "--length", "64", "--backward", "--json"))
        self.assertEqual(plan["operation"], "backward")

    def test_causal_and_a_window_both_hold(self) -> None:
        words = ("explain", "--length", "64", "--json", "--window")
        plan = json.loads(self.good(*words, "4,4", "--causal"))
        self.assertEqual(plan["mask"], json.loads(self.good(*words, "4,0"))["mask"])
        self.assertIn("with --window, both hold", self.good("explain", "--help"))

    def test_bench_json(self) -> None:
        words = ("bench", "--case", "tiny", "--case", "uneven-causal", "--seconds", "0.01")
        report = json.loads(self.good(*words, "--no-peers", "--json"))
        rows = [row for row in report["cases"] if row["backend"] == "plain"]
        self.assertEqual(
            [(row["name"], row["direction"], row["causal"]) for row in rows],
            [
                ("tiny", "forward", False),
                ("tiny", "backward", False),
                ("uneven-causal", "forward", True),
                ("uneven-causal", "backward", True),
            ],
        )
        for row in rows:
            self.assertGreater(row["seconds"], 0)
            self.assertGreater(row["gflops"], 0)
        # 2 heads x 25 pairs x 4 operations x dim 4 forward
        wanted = 2 * 25 * 4 * 4 / rows[0]["seconds"] / 1e9
        self.assertAlmostEqual(rows[0]["gflops"], wanted, delta=1e-9 + wanted * 1e-6)

    def test_bench_table(self) -> None:
        words = ("--case", "tiny", "--direction", "forward", "--dtype", "float64")
        words = (*words, "--seconds", "0.01", "--backend", "plain", "--no-peers")
        lines = self.good("bench", *words).splitlines()
        self.assertEqual(lines[:2], ["On cpu.", ""])
        self.assertRegex(lines[2], r"^case +dtype +direction +backend")
        self.assertRegex(lines[3], r"^tiny +float64 +forward +plain")
        self.assertEqual(lines[4], "")
        self.assertRegex(lines[5], r"^machine  .* threads; reads .* GB/s")
        self.assertEqual(lines[6], "layout   heads")
        self.assertRegex(lines[7], r"^peak     float32: ")

    def test_bench_list_is_the_file(self) -> None:
        listed = json.loads(self.good("bench", "--list", "--json"))
        with CASES.open(encoding="utf-8") as file:
            names = [case["name"] for case in json.load(file)]
        self.assertEqual([case["name"] for case in listed], names)
        self.assertEqual(len(self.good("bench", "--list").splitlines()), len(names) + 1)

    def test_unsupported_is_status_three(self) -> None:
        result = start("demo", "--length", "128", "--dtype", "float8_e4m3")
        self.assert_refused(result, 3, "float8_e4m3")

    def test_colour_is_for_terminals_that_want_it(self) -> None:
        for changes, has_colour in (
            ({"TERM": "xterm"}, True),
            ({"TERM": "xterm", "NO_COLOR": "1"}, False),
            ({"TERM": "dumb"}, False),
        ):
            text = self.on_terminal("bench", "--list", **changes)
            self.assertIn("causal-1024", text)
            self.assertEqual("\x1b[1m" in text, has_colour, changes)

    def test_progress_is_a_bar_on_a_terminal_and_a_line_elsewhere(self) -> None:
        words = ("bench", "--case", "tiny", "--seconds", "0.01", "--no-peers")
        self.assertIn("█", self.on_terminal(*words, TERM="xterm"))
        result = start(*words)
        self.assertRegex(result.stderr, r"\Abench \.\.\.\nbench: 100 % in [^\n]+\n\Z")

    def test_a_reader_that_leaves_is_no_crash(self) -> None:
        for words in (("bench", "--list"), ("explain", "--case", "tiny"), ("completion", "bash")):
            read_end, write_end = os.pipe()
            os.close(read_end)
            process = subprocess.run(
                [program(), *words], stdout=write_end, stderr=subprocess.PIPE, check=False,
                env=environment(),
            )  # fmt: skip
            os.close(write_end)
            self.assertEqual(process.returncode, 1)
            self.assertEqual(process.stderr, b"")

    def test_a_full_device_is_told(self) -> None:
        bench = ("bench", "--case", "tiny", "--direction", "forward", "--seconds", "0.01")
        for words in (
            ("bench", "--list"),
            ("bench", "--list", "--json"),
            (*bench, "--no-peers", "--json"),
            ("explain", "--case", "tiny"),
            ("explain", "--length", "x", "--json"),  # the refusal cannot be told as JSON
            ("--version",),
            ("--help",),
            ("explain", "--help"),
        ):
            with Path("/dev/full").open("wb") as full:
                process = subprocess.run(
                    [program(), *words], stdout=full, stderr=subprocess.PIPE, check=False,
                    env=environment(), text=True,
                )  # fmt: skip
            is_refused = "x" in words
            wanted = "cannot be 'x'" if is_refused else "standard output: No space left"
            self.assertEqual(process.returncode, 2 if is_refused else 1, words)
            self.assertRegex(process.stderr, rf"(?m)^tilewise: [^\n]*{wanted}", words)

    def test_bash_completes_what_help_lists(self) -> None:
        script = self.folder / "completion.bash"
        script.write_text(self.good("completion", "bash"))
        subprocess.run(["bash", "-n", script], check=True)

        def completed(*words: str) -> list[str]:
            ask = (
                f"source '{script}'; COMP_WORDS=({' '.join(words)} ''); "
                f"COMP_CWORD={len(words)}; _tilewise; printf '%s\\n' \"${{COMPREPLY[@]}}\""
            )
            result = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
            return result.stdout.split()

        self.assertIn("explain", completed("tilewise"))
        for command in ("demo", "explain", "run", "bench", "kernels"):
            flags = set(re.findall(r"(?m)^  .*?(--[a-z][a-z0-9-]*)", self.good(command, "--help")))
            self.assertLessEqual(flags, set(completed("tilewise", command)), command)
        self.assertIn("causal-1024", completed("tilewise", "bench", "--case"))
        self.assertIn("plain", completed("tilewise", "run", "--backend"))
        self.assertIn("build", completed("tilewise", "kernels"))
        self.assertIn("sm_90", completed("tilewise", "kernels", "build", "--arch"))
        self.assertEqual(
            completed("tilewise", "completion"), ["-h", "--help", "bash", "zsh", "fish"]
        )

    def test_other_shells(self) -> None:
        for shell in ("zsh", "fish"):
            text = self.good("completion", shell)
            for word in ("explain", "causal-1024", "key-heads"):
                self.assertIn(word, text, shell)
            if shutil.which(shell):
                script = self.folder / shell
                script.write_text(text)
                subprocess.run([shell, "-n", script], check=True)


if __name__ == "__main__":
    unittest.main()
