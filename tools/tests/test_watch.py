"""watch.py must see what a program's own children do, and end them with it."""

import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import watch

# Waits for a child that is busy for a second, or for ever.
WAITING = "python3 -c 'import time\nwhile time.process_time() < 1: pass' & wait"
ENDLESS = "sh -c 'echo \"$$\"; while :; do :; done' & wait"


def lives(process: int) -> bool:
    """Whether it can still run; one that nobody has waited for cannot."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Children(unittest.TestCase):
    """Programs that wait for one of their own."""

    def watched(self, script: str, limit: float | None) -> tuple[watch.Ended, str]:
        """What becomes of it where a quarter of a second is a long sleep, and what it prints."""
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(watch, "ASLEEP", 0.25):
            output = Path(folder) / "output"
            ended = watch.run_watched(["sh", "-c", script], dict(os.environ), output, limit)
            return ended, output.read_text()

    def test_who_waits_for_a_busy_child_does_not_sleep(self) -> None:
        """Only the child uses the processor."""
        ended, _ = self.watched(WAITING, None)
        self.assertFalse(ended.hangs)
        self.assertGreater(ended.seconds, 0.9)

    def test_who_waits_for_a_sleeping_child_sleeps(self) -> None:
        """None of them does anything."""
        self.assertTrue(self.watched("sleep 60 & wait", None)[0].hangs)

    def test_a_child_that_never_ends_is_ended(self) -> None:
        """It counts towards the limit, and does not outlive the program."""
        ended, said = self.watched(ENDLESS, 0.3)
        self.assertTrue(ended.hangs)
        patience = time.monotonic() + 10
        while lives(int(said)) and time.monotonic() < patience:
            time.sleep(0.01)
        self.assertFalse(lives(int(said)))


if __name__ == "__main__":
    unittest.main()
