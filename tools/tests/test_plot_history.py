"""plot_history.py must draw the last figures of each machine, and nothing that is not there."""

import json
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import plot_history

LENGTHS = (256, 512, 1024, 4096)


def case(length: int, gflops: float, **changes: object) -> dict[str, Any]:
    """A row of `tilewise bench --json`."""
    return {
        "name": f"f32-d64-{length}",
        "dtype": "float32",
        "direction": "forward",
        "causal": False,
        "batch": 1,
        "heads": 8,
        "key_heads": 8,
        "queries": length,
        "keys": length,
        "dim": 64,
        "backend": "cpu",
        "gflops": gflops,
        "peak_gflops": 200.0,
        "workspace_bytes": 100000.0 + length,
        "peer_gflops": {"torch": gflops / 2},
        **changes,
    }


class Plots(unittest.TestCase):
    """A folder of history and a folder of plots for each test."""

    def setUp(self) -> None:
        """Both folders, empty."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.history = Path(temporary.name) / "history"
        self.plots = Path(temporary.name) / "plots"
        self.history.mkdir()

    def add(self, *cases: dict[str, Any], gpu: str = "") -> None:
        """One more run of one machine, or of its GPU."""
        record: dict[str, Any] = {"cases": list(cases)}
        if gpu:
            record["device"] = {"name": gpu}
        with (self.history / f"{gpu or 'box-2'}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def test_no_history_draws_nothing(self) -> None:
        """Nor does one with too few lengths for a curve."""
        self.assertEqual(plot_history.draw(self.history, self.plots), 0)
        self.add(case(1024, 100), case(4096, 100))
        self.assertEqual(plot_history.draw(self.history, self.plots), 0)
        self.assertFalse(self.plots.exists())

    def test_pictures_are_whole(self) -> None:
        """They are well-formed, in the index, and show each series by name."""
        self.add(*(case(length, 100) for length in LENGTHS))
        self.assertEqual(plot_history.draw(self.history, self.plots), 2)
        for kind, words in {
            "speed": ["tilewise cpu", "torch", "peak", "GFLOP/s", "4096"],
            "memory": ["tilewise cpu", "scores, if kept", "MiB"],
        }.items():
            name = f"box-2-float32-d64-full-forward-{kind}.svg"
            text = (self.plots / name).read_text()
            ElementTree.fromstring(text)
            for word in words:
                self.assertIn(word, text)
            self.assertNotIn("nan", text)
            self.assertIn(name, (self.plots / "README.md").read_text())

    def test_the_last_line_counts(self) -> None:
        """A later run replaces what it measured again, and leaves the rest."""
        self.add(*(case(length, 10) for length in LENGTHS))
        self.add(case(1024, 150))
        ((group, cases),) = plot_history.read_history(self.history).items()
        ours, torch, peak = plot_history.speed_picture(group, cases).series
        self.assertEqual(ours.points, {256: 10, 512: 10, 1024: 150, 4096: 10})
        self.assertEqual(torch.points[1024], 75)
        self.assertTrue(peak.is_bound)

    def test_unlike_cases_do_not_mix(self) -> None:
        """Refusals, decoding and grouped heads are no points of these curves."""
        self.add(*(case(length, 10) for length in LENGTHS))
        self.add(case(1024, 99, causal=True), case(1024, 99, key_heads=2))
        self.add(case(1024, 99, keys=2048), case(1024, 99, refused="no"))
        self.add(*(case(length, 5, direction="backward", peer_gflops={}) for length in LENGTHS))
        groups = plot_history.read_history(self.history)
        self.assertEqual(len(groups), 2)
        for group, cases in groups.items():
            ours = plot_history.speed_picture(group, cases).series[0]
            self.assertEqual(ours.points[1024], 10 if group.direction == "forward" else 5)

    def test_a_gpus_batches_share_their_tokens(self) -> None:
        """Its curves have batches of as many tokens, in larger units; a processor's have none."""
        sizes = {"backend": "cuda", "peak_gflops": 1071000.0}
        self.add(
            *(case(length, 3e5, batch=4096 // length, **sizes) for length in LENGTHS),
            case(1024, 1e5, batch=2, **sizes),
            gpu="h200",
        )
        self.add(*(case(length, 10, batch=2) for length in LENGTHS))
        ((group, cases),) = plot_history.read_history(self.history).items()
        self.assertEqual((group.machine, group.tokens, set(cases)), ("h200", 4096, set(LENGTHS)))
        picture = plot_history.speed_picture(group, cases)
        self.assertEqual((picture.unit, picture.series[0].points[1024]), ("TFLOP/s", 300))
        scores = plot_history.memory_picture(group, cases).series[-1]
        self.assertEqual(scores.points[256], 4 * 8 * 16 * 256 * 256)
        self.assertIn("4096 tokens", picture.title)
        self.assertEqual(plot_history.draw(self.history, self.plots), 2)

    def test_old_pictures_go(self) -> None:
        """A picture whose figures have gone must not stay."""
        self.plots.mkdir()
        (self.plots / "old.svg").write_text("")
        self.add(*(case(length, 10) for length in LENGTHS))
        plot_history.draw(self.history, self.plots)
        self.assertFalse((self.plots / "old.svg").exists())

    def test_ticks(self) -> None:
        """Round numbers that hold all values between them."""
        self.assertEqual(plot_history.linear_ticks(197), [0, 50, 100, 150, 200])
        self.assertEqual(plot_history.binary_ticks(1000, 5000), [512, 1024, 2048, 4096, 8192])
        for most in (0.3, 1, 7, 233, 1e6):
            self.assertGreaterEqual(plot_history.linear_ticks(most)[-1], most)
            self.assertLessEqual(len(plot_history.binary_ticks(1, most)), 9)
        self.assertEqual(plot_history.number_text(2.0**22, True), "4 MiB")


if __name__ == "__main__":
    unittest.main()
