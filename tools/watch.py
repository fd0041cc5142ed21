"""Runs a program and tells one that hangs from one that other programs keep waiting.

Wall time cannot tell them apart on a machine that others use. A program hangs when it has used more
processor time than it may, or when for ASLEEP seconds it has used next to none: then it waits for
something that does not come. Its child processes count as part of it. The program stays in the
caller's process group, so that whoever stops the caller's group stops the program, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

ASLEEP = 30.0  # seconds of wall time after which a program that does nothing hangs
NOTHING = 0.01  # the part of one processor that counts as nothing; a program kept waiting has more
_GLANCE = 0.02  # seconds between two looks
_TICKS = os.sysconf("SC_CLK_TCK")


class Ended(NamedTuple):
    """How a program ended."""

    hangs: bool
    seconds: float  # of processor time, with the programs that it started and waited for


def started_by(process: int) -> list[int]:
    """A process and all its living descendants, parents before their children."""
    found = [process]
    for each in found:  # and those that are found on the way
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def seconds_used(process: int) -> float:
    """The processor time so far of a process and its descendants.

    A child that ends meanwhile may be missed; its time counts once its parent has waited for it.
    """
    ticks = 0
    for each in started_by(process):
        with contextlib.suppress(OSError):
            # The program's name is in parentheses and may hold anything. After the name come the
            # times of the process, and of its children that were waited for.
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / _TICKS


def _kill(process: int) -> None:
    for each in started_by(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def run_watched(
    command: list[str], environment: dict[str, str], output: Path, limit: float | None
) -> Ended:
    """Runs `command` until it ends or hangs; what it prints goes to `output`, errors nowhere."""
    with output.open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.DEVNULL)
    looked, used, seconds = time.monotonic(), 0.0, 0.0
    hangs = False
    while True:
        ended, status, usage = os.wait4(process.pid, 0 if hangs else os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return Ended(hangs, usage.ru_utime + usage.ru_stime)
        now, seconds = time.monotonic(), max(seconds, seconds_used(process.pid))
        is_asleep = now - looked > ASLEEP and seconds - used < NOTHING * (now - looked)
        if is_asleep or (limit is not None and seconds > limit):
            hangs = True
            _kill(process.pid)
            continue
        if now - looked > ASLEEP:
            looked, used = now, seconds
        time.sleep(_GLANCE)
