"""Starts the built program and keeps what it said; a folder of its own for each test."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import tempfile
import termios
import unittest
from pathlib import Path

import npy_file

# Variables that every program started from here gets.
surroundings: dict[str, str] = {}


def program() -> str:
    return os.environ["TILEWISE_PROGRAM"]


def environment(**changes: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LD_LIBRARY_PATH"):
        if name in os.environ:
            kept[name] = os.environ[name]
    # Hides a GPU that this machine may have.
    return {**kept, "CUDA_VISIBLE_DEVICES": "", **surroundings, **changes}


def played_gpu() -> dict[str, str]:
    """Variables by which programs see a GPU: the emulator, tests/backends/cuda/emulated_cuda.cpp.

    The program then finds that library where it looks for the driver, and as its NVRTC.
    """
    library = Path(os.environ["TILEWISE_PLAYED_GPU"])
    folders = [str(library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
    return {
        "LD_LIBRARY_PATH": ":".join(folder for folder in folders if folder),
        "TILEWISE_NVRTC": str(library),
        "TILEWISE_CACHE": "",
    }


def start(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [program(), *(str(word) for word in words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(**changes),
    )


class ProgramTest(unittest.TestCase):
    """Files live in self.folder; self.give writes one and self.take reads one."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def give(
        self, name: str, shape: tuple[int, ...], values: list[float], kind: str = "<f8"
    ) -> Path:
        return npy_file.write(self.folder / f"{name}.npy", npy_file.Array(kind, shape, values))

    def take(self, name: str) -> npy_file.Array:
        return npy_file.read(self.folder / f"{name}.npy")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def assert_close(self, got: list[float], wanted: list[float], tolerance: float) -> None:
        self.assertEqual(len(got), len(wanted))
        for i, (one, other) in enumerate(zip(got, wanted)):
            if one != other:  # infinities are equal, but have no difference
                self.assertLessEqual(abs(one - other), tolerance * (1 + abs(other)), f"element {i}")

    def assert_refused(
        self, result: subprocess.CompletedProcess[str], status: int, words: str
    ) -> None:
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertRegex(result.stderr, r"\Atilewise: [^\n]+\n\Z")
        self.assertIn(words, result.stderr)

    def good(self, *words: object, **changes: str) -> str:
        """What the program prints on standard output. It must succeed."""
        result = start(*words, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def on_terminal(self, *words: str, columns: int = 0, **changes: str) -> str:
        """What the program says to a terminal; one of 0 columns does not say how many it has."""
        leader, follower = os.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [program(), *words], stdout=follower, stderr=follower, env=environment(**changes)
        )
        os.close(follower)
        said = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # how Linux says that the other side has closed
                break
            if not part:
                break
            said += part
        os.close(leader)
        self.assertEqual(process.wait(timeout=60), 0)
        return said.decode()
