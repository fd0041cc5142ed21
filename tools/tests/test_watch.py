"""watch.py must see what a program's own children do, and end them with it."""

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import watch

# Each waits for a child: one that is busy for a second, one that sleeps, one that never ends.
WAITING = "python3 -c 'import time\nwhile time.process_time() < 1: pass' & wait"
SLEEPING = "sleep 60 & wait"
ENDLESS = "sh -c 'echo \"$$\"; while :; do :; done' & wait"


def lives(process: int) -> bool:
    """Whether it can still run; one that nobody has waited for cannot."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Children(unittest.TestCase):
    """Programs that hang once they have done nothing for a quarter of a second."""

    def watched(self, script: str, limit: float | None = None) -> tuple[watch.Ended, str]:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(watch, "ASLEEP", 0.25):
            output = Path(folder) / "output"
            ended = watch.run_watched(["sh", "-c", script], dict(os.environ), output, limit)
            return ended, output.read_text()

    def test_a_busy_child_counts_and_a_sleeping_one_does_not(self) -> None:
        busy, _ = self.watched(WAITING)
        self.assertFalse(busy.hangs)
        self.assertGreater(busy.seconds, 0.9)
        self.assertTrue(self.watched(SLEEPING)[0].hangs)

    def test_a_child_that_never_ends_is_ended(self) -> None:
        ended, said = self.watched(ENDLESS, 0.3)
        self.assertTrue(ended.hangs)
        patience = time.monotonic() + 10
        while lives(int(said)) and time.monotonic() < patience:
            time.sleep(0.01)
        self.assertFalse(lives(int(said)))
