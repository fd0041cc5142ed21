"""plot_history.py must draw the last figures of each machine, and nothing that is not there."""

import json
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import plot_history

LENGTHS = (256, 512, 1024, 4096)
# A row of `tilewise bench --json`.
CASE: dict[str, Any] = {
    **{"dtype": "float32", "direction": "forward", "causal": False, "backend": "cpu", "dim": 64},
    **{"batch": 1, "heads": 8, "key_heads": 8, "peak_gflops": 200.0, "workspace_bytes": 1e5},
}


def case(length: int, gflops: float, **changes: object) -> dict[str, Any]:
    sizes = {"name": f"f32-d64-{length}", "queries": length, "keys": length}
    return {**CASE, **sizes, "gflops": gflops, "peer_gflops": {"torch": gflops / 2}, **changes}


class Plots(unittest.TestCase):
    """A folder of history and a folder of plots for each test."""

    def setUp(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.history, self.plots = folder / "history", folder / "plots"
        self.history.mkdir()

    def add(self, *cases: dict[str, Any], gpu: str = "") -> None:
        """One more run of one machine, or of its GPU."""
        record: dict[str, Any] = {"cases": list(cases)}
        if gpu:
            record["device"] = {"name": gpu}
        with (self.history / f"{gpu or 'box-2'}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def draw(self) -> int:
        return plot_history.draw(self.history, self.plots)

    def test_too_little_for_a_curve_draws_nothing(self) -> None:
        self.assertEqual(self.draw(), 0)
        self.add(case(1024, 100), case(4096, 100))
        self.assertEqual(self.draw(), 0)
        self.assertFalse(self.plots.exists())

    def test_pictures_are_whole_and_old_ones_go(self) -> None:
        self.plots.mkdir()
        (self.plots / "old.svg").write_text("")
        self.add(*(case(length, 100) for length in LENGTHS))
        self.assertEqual(self.draw(), 2)
        self.assertFalse((self.plots / "old.svg").exists())
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

    def test_the_last_figure_counts_and_unlike_cases_do_not_mix(self) -> None:
        """Refusals, decoding and grouped heads are no points of these curves."""
        self.add(*(case(length, 10) for length in LENGTHS))
        self.add(case(1024, 150), case(1024, 99, causal=True), case(1024, 99, key_heads=2))
        self.add(case(1024, 99, keys=2048), case(1024, 99, refused="no"))
        self.add(*(case(length, 5, direction="backward", peer_gflops={}) for length in LENGTHS))
        groups = plot_history.read_history(self.history)
        pictures = {
            group.direction: plot_history.speed_picture(group, cases)
            for group, cases in groups.items()
        }
        self.assertEqual((len(groups), len(pictures)), (2, 2))
        ours, torch, peak = pictures["forward"].series
        self.assertEqual(ours.points, {256: 10, 512: 10, 1024: 150, 4096: 10})
        self.assertEqual((torch.points[1024], peak.is_bound), (75, True))
        self.assertEqual(pictures["backward"].series[0].points[1024], 5)

    def test_a_gpus_batches_share_their_tokens(self) -> None:
        """A GPU's curve has cases of equal tokens, in TFLOP/s; a processor's has batch 1 alone."""
        sizes = {"backend": "cuda", "peak_gflops": 1071000.0}
        large = (case(length, 3e5, batch=4096 // length, **sizes) for length in LENGTHS)
        self.add(*large, case(1024, 1e5, batch=2, **sizes), gpu="h200")
        self.add(*(case(length, 10, batch=2) for length in LENGTHS))
        ((group, cases),) = plot_history.read_history(self.history).items()
        self.assertEqual((group.machine, group.tokens, set(cases)), ("h200", 4096, set(LENGTHS)))
        picture = plot_history.speed_picture(group, cases)
        self.assertEqual((picture.unit, picture.series[0].points[1024]), ("TFLOP/s", 300))
        scores = plot_history.memory_picture(group, cases).series[-1]
        self.assertEqual(scores.points[256], 4 * 8 * 16 * 256 * 256)
        self.assertIn("4096 tokens", picture.title)

    def test_ticks_are_round_and_hold_all_values(self) -> None:
        self.assertEqual(plot_history.linear_ticks(197), [0, 50, 100, 150, 200])
        self.assertEqual(plot_history.binary_ticks(1000, 5000), [512, 1024, 2048, 4096, 8192])
        for most in (0.3, 1, 7, 233, 1e6):
            self.assertGreaterEqual(plot_history.linear_ticks(most)[-1], most)
            self.assertLessEqual(len(plot_history.binary_ticks(1, most)), 9)
        self.assertEqual(plot_history.number_text(2.0**22, True), "4 MiB")
