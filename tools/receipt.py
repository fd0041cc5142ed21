"""The receipt of the GPU's tests: what ran on which GPU, for which sources.

Machines that test each change have no GPU. `./dev gpu test` runs the tests where there is one and
writes receipts/cuda.json, which is committed with the change; `./dev lint` fails when the GPU's
sources are others than the receipt's, unless receipts/UNVERIFIED says why in one line. It also
fails when the receipt tells of failures, and nothing excuses those.

Usage: receipt.py check | receipt.py write LOG...
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECEIPT = ROOT / "receipts/cuda.json"
EXCUSE = ROOT / "receipts/UNVERIFIED"
# What runs on the device, and what launches it.
SOURCES = ["src/core", "src/backends/cuda"]


def digest(root: Path = ROOT) -> str:
    """A hash of the names and texts of the GPU's sources."""
    found = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".h", ".cpp"}:
                text = path.read_bytes()
                found.update(f"{path.relative_to(root).as_posix()} {len(text)}\n".encode())
                found.update(text)
    return found.hexdigest()


def complaint(receipt: Path = RECEIPT, excuse: Path = EXCUSE, root: Path = ROOT) -> str:
    """Why the receipt does not hold for these sources; empty if it does, or there is an excuse.

    An excuse is for sources that no GPU has seen, not for tests that failed on one.
    """
    is_excused = excuse.exists() and excuse.read_text().strip() != ""
    if not receipt.exists():
        missing = f"There is no {receipt.name}: run ./dev gpu test on a machine with a GPU."
        return "" if is_excused else missing
    held = json.loads(receipt.read_text())
    if held["failed"] != 0:
        where = ", ".join(
            f"{run['failed']} in {name}" for name, run in held["runs"].items() if run["failed"]
        )
        return (
            f"{receipt.name} tells of failed tests ({where}), which receipts/UNVERIFIED cannot "
            "excuse: mend them, run ./dev gpu test on a machine with a GPU and commit the receipt."
        )
    if held["sources"] != digest(root) and not is_excused:
        return (
            f"The GPU's sources are others than those of {receipt.name}: run ./dev gpu test on a "
            "machine with a GPU and commit the receipt, or say why not in receipts/UNVERIFIED."
        )
    return ""


def ask(command: list[str]) -> str:
    """A program's output, or "unknown" if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def sum_of(pattern: str, text: str) -> int:
    """The sum of the numbers in lines that begin so."""
    return sum(map(int, re.findall(pattern, text, re.MULTILINE)))


def counts(text: str) -> dict[str, int]:
    """Passed, failed and skipped tests of one run of gtest; a sanitizer's errors are failures.

    A run that did not end, or whose program ended with an error, has at least one failure.
    """
    passed = sum_of(r"^\[  PASSED  \] (\d+) test", text)
    failed = sum_of(r"^\[  FAILED  \] (\d+) test", text)
    failed += sum_of(r"SUMMARY: (?:\d+ hazards? displayed \()?(\d+) error", text)
    ended_badly = re.search(r"^== ended with \d+", text, re.MULTILINE) is not None
    has_ended = re.search(r"^\[  PASSED  \] ", text, re.MULTILINE) is not None
    return {
        "passed": passed,
        "failed": failed or int(ended_badly or not has_ended),
        "skipped": sum_of(r"^\[  SKIPPED \] (\d+) test", text),
    }


def write(logs: list[str]) -> int:
    """Writes the receipt of runs whose output lies in these files; 1 when one failed."""
    runs = {Path(log).stem: counts(Path(log).read_text(errors="replace")) for log in logs}
    gpus, drivers = (
        ask(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]).split("\n")
        for field in ("name", "driver_version")
    )
    sums = {what: sum(run[what] for run in runs.values()) for what in counts("")}
    receipt = {
        "sources": digest(),
        "gpu": gpus[0],
        "gpus": len(gpus),
        "driver": drivers[0],
        "runs": runs,
        **sums,
    }
    RECEIPT.parent.mkdir(exist_ok=True)
    RECEIPT.write_text(json.dumps(receipt, indent=2) + "\n")
    print(
        f"{sums['passed']} passed, {sums['failed']} failed, {sums['skipped']} skipped on "
        f"{len(gpus)} {gpus[0]}: {RECEIPT}"
    )
    return 1 if sums["failed"] else 0


def main(arguments: list[str]) -> int:
    """Checks or writes; 2 for other words."""
    if arguments == ["check"]:
        why = complaint()
        if why:
            print(why, file=sys.stderr)
        return 1 if why else 0
    if len(arguments) > 1 and arguments[0] == "write":
        return write(arguments[1:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
