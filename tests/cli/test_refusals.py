"""What `tilewise` refuses: the sentence, the exit status, and that nothing has changed."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import unittest
from pathlib import Path

import npy_file
from program import ProgramTest, environment, program, start


class RunRefusalTest(ProgramTest):
    """A good request of which one thing at a time is spoiled."""

    def setUp(self) -> None:
        super().setUp()
        self.words: dict[str, object] = {
            "--query": self.give("q", (1, 3, 2, 4), [0.5] * 24, "<f4"),
            "--key": self.give("k", (1, 5, 2, 4), [0.25] * 40, "<f4"),
            "--value": self.give("v", (1, 5, 2, 4), [1.0] * 40, "<f4"),
            "--output": self.path("o"),
        }
        self.path("o").write_text("what was here before")

    def run_with(self, *more: object, **changes: object) -> subprocess.CompletedProcess[str]:
        words = {**self.words, **{f"--{name}": value for name, value in changes.items()}}
        flat = [part for pair in words.items() if pair[1] is not None for part in pair]
        return start("run", *flat, *more)

    def assert_unchanged(self, result: subprocess.CompletedProcess[str], words: str) -> None:
        self.assert_refused(result, 2, words)
        self.assertEqual(self.path("o").read_text(), "what was here before")
        names = sorted(entry.name for entry in self.folder.iterdir())
        self.assertEqual([name for name in names if ".npy." in name], [])

    def raw(self, name: str, content: bytes) -> Path:
        path = self.folder / f"{name}.npy"
        path.write_bytes(content)
        return path

    def test_the_unspoiled_request_runs(self) -> None:
        result = self.run_with()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.take("o").values, [1.0] * 24)

    def test_files_that_cannot_be_read(self) -> None:
        """One file of each kind; npy_test.cpp has more."""
        whole = npy_file.encode(npy_file.header("<f4", (1, 3, 2, 4)), b"\0" * 96)
        for path, words in (
            (self.path("absent"), "No such file or directory"),
            ("/dev/zero", "it is not a regular file"),
            (self.raw("empty", b""), "does not begin as a .npy file"),
            (self.raw("short", whole[:-1]), "needs 96 bytes, but 95 follow"),
        ):
            self.assert_unchanged(self.run_with(query=path), words)

    def test_shapes_and_types_that_do_not_fit(self) -> None:
        for name, shape, kind, words in (
            ("query", (24,), "<f4", "the query has 1 dimensions"),
            ("query", (1, 3, 3, 4), "<f4", "heads"),
            ("query", (1, 3, 2, 4), "<u2", "--bfloat16"),
            ("mask", (1, 1, 3, 5), "<f4", "visible"),
        ):
            count = 1
            for extent in shape:
                count *= extent
            path = self.give("bad", shape, [0] * count, kind)
            self.assert_unchanged(self.run_with(**{name: path}), words)
        scalar = self.raw("scalar", npy_file.encode(npy_file.header("<f4", ()), b"\0" * 4))
        self.assert_unchanged(self.run_with(query=scalar), "has 0 dimensions")

    def test_contradictions(self) -> None:
        gradient = ("--output-gradient", self.give("do", (1, 3, 2, 4), [1.0] * 24, "<f4"))
        for words, sentence in (
            (("--query-gradient", self.path("dq")), "give it with --output-gradient"),
            (gradient, "no gradient would be written"),
            ((*gradient, "--bias-gradient", self.path("db")), "something that was not given"),
            (("--window", "3"), "--window takes LEFT,RIGHT"),
            (("--diagonal", "middle"), "--diagonal takes"),
            (("--blocks", self.path("q")), "--blocks needs --block-size"),
            (("--block-size", "16,16"), "no --blocks to have that size"),
            (
                ("--blocks", self.path("q"), "--block-size", "16"),
                "--block-size takes QUERIES,KEYS",
            ),
            (("--dropout", "1.5"), "dropout"),
            (("--output-dtype", "float31"), "did you mean 'float32'"),
            (("--backend", "plan"), "did you mean 'plain'"),
            (("--lse", self.path("o")), "two outputs would go there"),
            (("--lse", f"{self.folder}/./o.npy"), "two outputs would go there"),
            (("--lse", self.path("q")), "it is an input of this run"),
        ):
            self.assert_unchanged(self.run_with(*words), sentence)
        self.assert_unchanged(self.run_with(output=None), "nothing would be written")
        self.assert_unchanged(self.run_with(key=None), "--key is required")

    def test_sentences_do_not_move_the_cursor(self) -> None:
        result = self.run_with("--output-dtype", "\x1b[31mfloat")
        self.assert_unchanged(result, "?[31mfloat")
        self.assertNotIn("\x1b", result.stderr)

    def test_places_that_cannot_be_written(self) -> None:
        for place, words in (
            (self.folder / "absent" / "o.npy", "No such file or directory"),
            (self.folder, "it is a directory"),
            ("/dev/null", "it is not a regular file"),
            (self.path("q") / "o.npy", "Not a directory"),
        ):
            # A second output that is fine must not appear either.
            result = self.run_with("--lse", self.path("lse"), output=place)
            self.assert_unchanged(result, f"cannot write {place}: {words}")
            self.assertFalse(self.path("lse").exists())

    def test_a_full_disk_changes_nothing(self) -> None:
        # A limit on the size of files stands in for it; 24 numbers and a header take 224 bytes.
        def limit() -> None:
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        words = [str(part) for pair in self.words.items() for part in pair]
        result = subprocess.run(
            [program(), "run", *words],
            capture_output=True, text=True, check=False, preexec_fn=limit, env=environment(),
        )  # fmt: skip
        self.assert_refused(result, 1, "File too large")
        self.assertEqual(self.path("o").read_text(), "what was here before")
        self.assertEqual(list(self.folder.glob("*.npy.*")), [])

    def test_an_interrupt_leaves_nothing_behind(self) -> None:
        length = 1 << 13
        large = self.give("large", (1, length, 1, 64), [0.01] * (length * 64), "<f4")
        flags = ("--query", "--key", "--value")
        words = [str(part) for flag in flags for part in (flag, large)]
        process = subprocess.Popen(
            [program(), "run", *words, "--output", str(self.path("o")), "--threads", "1"],
            env=environment(),
        )
        deadline = time.monotonic() + 60
        while not list(self.folder.glob("o.npy.*")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), -signal.SIGINT)
        self.assertEqual(list(self.folder.glob("o.npy.*")), [])
        self.assertEqual(self.path("o").read_text(), "what was here before")

    def test_links_are_followed_and_modes_kept(self) -> None:
        self.path("o").chmod(0o640)
        link = self.folder / "link.npy"
        link.symlink_to(self.path("o"))
        result = self.run_with(output=link)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.take("o").values, [1.0] * 24)
        self.assertEqual(self.path("o").stat().st_mode & 0o777, 0o640)

    def test_json_tells_of_errors(self) -> None:
        result = self.run_with("--json", query=self.path("absent"))
        self.assert_unchanged(result, "No such file")
        error = json.loads(result.stdout)["error"]
        self.assertEqual(error["status"], 2)
        self.assertIn("No such file", error["message"])


class UsageTest(ProgramTest):
    def test_wrong_words(self) -> None:
        for words, sentence in (
            ((), "no command was given"),
            (("explan",), "did you mean 'explain'"),
            (("explain", "--casual"), "did you mean '--causal'"),
            (("explain", "--case", "causal-1042"), "did you mean 'causal-1024'"),
            (("explain", "--case", "zebra"), "tilewise bench --list"),
            (("explain", "--length", "many"), "--length cannot be 'many'"),
            (("explain", "--length", str(1 << 60)), "64 bits"),
            (("explain", "--bias", "1,-8,1,4"), "--bias takes sizes from 0 on, not -8"),
            (("explain", "--heads", "6", "--key-heads", "4"), "heads"),
            (("explain", "--dtype", "float23"), "float type 'float23'"),
            (("explain", "--device", "gpu"), "--device takes"),
            (("explain", "--case", "packed", "--length", "7"), "is packed"),
            (("bench", "--case", "tiny-casual"), "did you mean 'tiny-causal'"),
            (("bench", "--backend", "quick"), "there is no backend 'quick'"),
            (("bench", "--tier", "slow"), "there is no tier 'slow'"),
            (("bench", "--direction", "up"), "there is no direction 'up'"),
            (("bench", "--layout", "columns"), "there is no layout 'columns'"),
            (("demo", "--length", "3"), "--length"),
            (("completion", "tcsh"), "there is no shell 'tcsh'"),
        ):
            self.assert_refused(start(*words), 2, sentence)

    def test_numbers_that_an_option_cannot_take(self) -> None:
        huge = "99999999999999999999"
        for command, option, value, wanted in (
            ("explain", "--batch", huge, "a whole number from 0 to 2^63 - 1"),
            ("explain", "--batch", "0x10", "a whole number from 0 to 2^63 - 1"),
            ("explain", "--heads", "-5", "a whole number from 0 to 2^63 - 1"),
            ("explain", "--chunk", "-3", "a whole number from 0 to 2^63 - 1"),
            ("explain", "--seed", "-1", "a whole number from 0 to 2^64 - 1"),
            ("explain", "--seed", "18446744073709551616", "a whole number from 0 to 2^64 - 1"),
            ("explain", "--threads", "4097", "a whole number from 0 to 4096"),
            ("explain", "--dropout", "nan", "a finite number"),
            ("explain", "--scale", "inf", "a finite number"),
            ("bench", "--seconds", "nan", "a number from 0 to 3600"),
            ("bench", "--seconds", "-1", "a number from 0 to 3600"),
            ("explain", "--bias", "1,x,1,1", "whole numbers with commas between them"),
        ):
            sentence = f"{option} cannot be '{value}': it is {wanted}"
            self.assert_refused(start(command, option, value), 2, sentence)
        words = ("explain", "--case", "tiny", "--dropout", "0.5", "--seed", str((1 << 64) - 1))
        self.assertEqual(start(*words).returncode, 0)

    def test_an_empty_value_is_not_taken_for_none(self) -> None:
        for words in (
            ("explain", "--dropout", ""),
            ("explain", "--dropout="),
            ("explain", "--dropout=", "--json"),
            ("explain", "--backend", ""),
            ("explain", "--dtype", ""),
            ("bench", "--case", ""),
            ("bench", "--record", ""),
            ("check", "--case", ""),
        ):
            sentence = f"{words[1].rstrip('=')} has an empty value"
            self.assert_refused(start(*words), 2, sentence)

    def test_a_wrong_environment(self) -> None:
        for variable in ("TILEWISE_BACKEND", "TILEWISE_CPU_ISA"):
            result = start("explain", "--case", "tiny", **{variable: "nonsense"})
            self.assert_refused(result, 2, variable)
        for words in (
            ("explain", "--case", "tiny"),
            ("bench", "--case", "tiny", "--seconds", "0.01", "--no-peers"),
            ("check", "--tier", "smoke", "--case", "random/gauss/float32"),
        ):
            result = start(*words, TILEWISE_NUM_THREADS="abc")
            self.assert_refused(result, 2, "TILEWISE_NUM_THREADS is 'abc'")


if __name__ == "__main__":
    unittest.main()
