"""The benchmark: its figures, its peers (played by small programs here), and what it keeps."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path

from program import ProgramTest, start

# Talks as bench/peers.py does; its words come after `-c TEXT`: the peer's name, the
# threads, the device.
ACTOR = """#!{python}
import json, os, sys, time
part = {part!r}
def say(**message):
    print(json.dumps(message), flush=True)
if part == "mute":
    time.sleep(1000)
if part == "dead":
    os._exit(7)
if part == "babbler":
    print("Good morning!", flush=True)
    time.sleep(1000)
if sys.argv[3] != "torch":
    say(missing="only torch is played here")
    sys.exit()
say(peer="torch", version="1.2.3")
for line in sys.stdin:
    request = json.loads(line)
    if part == "dies later":
        os.kill(os.getpid(), 9)
    if part == "hangs later":
        time.sleep(1000)
    if part == "fails":
        say(failed="out of luck")
    elif "prepare" in request:
        with open({seen!r}, "a") as file:
            file.write(line)
        if request["prepare"]["direction"] == "backward" and part == "forward only":
            say(declines="no gradients here")
        else:
            say(first=0.001)
    else:
        say(times=[0.002, 0.003, 0.004])
"""


class BenchTest(ProgramTest):
    def actor(self, part: str) -> Path:
        path = self.folder / "actor"
        seen = str(self.folder / "seen")
        path.write_text(ACTOR.format(python=sys.executable, part=part, seen=seen))
        path.chmod(0o755)
        return path

    def bench(self, *words: str, part: str = "well") -> dict:
        changes = {
            "TILEWISE_PYTHON": str(self.actor(part)),
            "TILEWISE_OPENBLAS": "/no/such/library",
            "TILEWISE_PEER_SECONDS": "1",
            "TILEWISE_COMMIT": "abc123",
        }
        words = ("bench", "--backend", "plain", "--json", "--seconds", "0.01", *words)
        result = start(*words, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_figures_of_a_run(self) -> None:
        report = self.bench("--case", "uneven", "--case", "single-row", part="forward only")
        self.assertEqual(
            list(report), ["machine", "version", "layout", "peak", "bandwidth", "peers", "cases"]
        )
        self.assertEqual(report["layout"], "heads")
        self.assertLessEqual({"processor", "cores", "threads", "features"}, set(report["machine"]))
        self.assertEqual(
            list(report["peak"]), ["float32", "float64", "bfloat16_dot", "bfloat16_tile"]
        )
        self.assertGreater(report["peak"]["float32"]["gflops"], 0)
        self.assertGreater(report["bandwidth"]["read_gbytes_per_second"], 0)
        self.assertGreater(report["bandwidth"]["triad_gbytes_per_second"], 0)
        rows = {(row["name"], row["direction"]): row for row in report["cases"]}
        self.assertEqual(len(rows), 4)
        for row in rows.values():
            self.assertEqual((row["backend"], row["dtype"]), ("plain", "float32"))
            self.assertGreater(row["gflops"], 0)
            self.assertGreater(row["peak_gflops"], 0)
            self.assertLess(row["peak_share"], 1.1)
            share = row["gflops"] / row["peak_gflops"]
            self.assertAlmostEqual(row["peak_share"], share, delta=2e-3 * share)
            self.assertGreater(row["workspace_bytes"], 0)
        for (name, direction), row in rows.items():
            reads = name == "single-row" and direction == "forward"
            self.assertEqual("bandwidth_share" in row, reads, row)
        row = rows["uneven", "forward"]
        self.assertAlmostEqual(row["ratios"]["torch"] * row["seconds"], 0.003, delta=1e-5)
        self.assertAlmostEqual(
            row["peer_gflops"]["torch"] * row["ratios"]["torch"], row["gflops"], delta=1e-2
        )
        self.assertEqual(rows["uneven", "backward"]["ratios"], {})

    def test_what_peers_are_asked(self) -> None:
        words = ("--case", "single-row", "--case", "dim-80", "--case", "window", "--threads", "1")
        report = self.bench(*words, "--direction", "forward", "--layout", "rows")
        self.assertEqual(report["layout"], "rows")
        self.assertEqual([len(row["ratios"]) for row in report["cases"]], [1, 1, 0])
        asked = [json.loads(line) for line in (self.folder / "seen").read_text().splitlines()]
        self.assertEqual([each["prepare"]["causal"] for each in asked], [False, True])
        self.assertEqual(
            asked[0]["prepare"],
            {
                "dtype": "float32", "direction": "forward", "causal": False, "batch": 2,
                "heads": 4, "key_heads": 2, "queries": 1, "keys": 65, "dim": 16,
                "value_dim": 16, "scale": None,
            },
        )  # fmt: skip

    def test_peers_that_are_there_and_those_that_are_not(self) -> None:
        torch, onnxruntime, openblas = self.bench("--case", "tiny")["peers"]
        self.assertEqual(torch, {"name": "torch", "found": True, "version": "1.2.3"})
        self.assertEqual(onnxruntime["why"], "only torch is played here")
        self.assertIn("/no/such/library", openblas["why"])
        self.assertEqual(self.bench("--case", "tiny", "--no-peers")["peers"], [])

    def test_bad_peers_are_left_out(self) -> None:
        for part, why in {
            "mute": "did not answer within 1 s",
            "dead": "ended with status 7",
            "babbler": "no JSON object",
            "dies later": "ended by signal 9",
            "hangs later": "did not answer",
            "fails": "out of luck",
        }.items():
            report = self.bench("--case", "tiny", part=part)
            torch = report["peers"][0]
            self.assertFalse(torch["found"], part)
            self.assertIn(why, torch["why"], part)
            for row in report["cases"]:
                self.assertEqual(row["ratios"], {}, part)
                self.assertGreater(row["gflops"], 0)

    def test_the_real_child_says_what_it_lacks(self) -> None:
        changes = {"TILEWISE_PYTHON": sys.executable, "TILEWISE_OPENBLAS": "/no/such/library"}
        blind = {"PYTHONPATH": str(self.folder)}
        for name in ("torch", "onnxruntime"):
            (self.folder / f"{name}.py").write_text("raise ImportError('not today')\n")
        result = start("bench", "--case", "tiny", "--seconds", "0.01", "--json", **changes, **blind)
        for peer in json.loads(result.stdout)["peers"][:2]:
            self.assertIn("not today", peer["why"])

    def test_record(self) -> None:
        for _ in range(2):
            self.bench("--case", "tiny", "--record", str(self.folder / "history"))
        (path,) = (self.folder / "history").iterdir()
        self.assertRegex(path.name, r"\A[a-z0-9-]+-\d+(-[a-z0-9-]+)?\.jsonl\Z")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(len(lines), 2)
        self.assertEqual(lines[0]["commit"], "abc123")
        self.assertRegex(lines[0]["date"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        self.assertEqual(lines[0]["cases"][0]["name"], "tiny")
        blocked = self.folder / "file"
        blocked.write_text("")
        words = ("bench", "--case", "tiny", "--seconds", "0.01", "--no-peers", "--json")
        for folder in (blocked, blocked / "below", "/proc/absent"):
            result = start(*words, "--record", folder)
            # A line of progress or a report would say that something was measured.
            self.assert_refused(result, 1, f"cannot write to {folder}/")
            self.assertEqual(list(json.loads(result.stdout)), ["error"])
        self.assertEqual(start(*words[:-1], "--list", "--record", blocked).returncode, 0)

    def test_tiers(self) -> None:
        result = start("bench", "--tier", "bar")
        self.assert_refused(result, 2, "did you mean 'bars'")


if __name__ == "__main__":
    unittest.main()
