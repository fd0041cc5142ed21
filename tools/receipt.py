"""The receipt of the GPU's tests: what ran on which GPU, for which sources.

Machines that test each change have no GPU. `./dev gpu test` runs the tests where there is one and
writes receipts/cuda.json, which is committed with the change; `./dev lint` fails when the GPU's
sources are others than the receipt's, unless receipts/UNVERIFIED says why in one line.

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
    """Why the receipt is none for these sources; empty when it is one, or there is an excuse."""
    if excuse.exists() and excuse.read_text().strip():
        return ""
    if not receipt.exists():
        return f"There is no {receipt.name}: run ./dev gpu test on a machine with a GPU."
    held = json.loads(receipt.read_text())
    if held["failed"] != 0:
        return f"{receipt.name} tells of {held['failed']} failures."
    if held["sources"] != digest(root):
        return (
            f"The GPU's sources are others than those of {receipt.name}: run ./dev gpu test on a "
            "machine with a GPU and commit the receipt, or say why not in receipts/UNVERIFIED."
        )
    return ""


def ask(command: list[str]) -> str:
    """What a program says, or "unknown" where it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def counts(text: str) -> tuple[int, int]:
    """Passed and failed tests of one run of gtest, errors of a sanitizer among the failures.

    One that did not end, or not well, has a failure.
    """
    passed = re.findall(r"^\[  PASSED  \] (\d+) test", text, re.MULTILINE)
    failed = sum(map(int, re.findall(r"^\[  FAILED  \] (\d+) test", text, re.MULTILINE)))
    # What a sanitizer found, or that it found nothing but warnings.
    errors = re.findall(r"SUMMARY: (?:\d+ hazards? displayed \()?(\d+) error", text)
    found = sum(map(int, errors))
    ended = re.search(r"^== ended with (\d+)", text, re.MULTILINE)
    is_unclear = not passed or (ended is not None and not failed and not errors)
    return sum(map(int, passed)), failed + found or int(is_unclear)


def write(logs: list[str]) -> int:
    """Writes the receipt of runs whose output lies in these files; 1 when one failed."""
    runs = {Path(log).stem: counts(Path(log).read_text(errors="replace")) for log in logs}
    gpu, driver = (
        ask(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]).split("\n")[0]
        for field in ("name", "driver_version")
    )
    receipt = {
        "sources": digest(),
        "gpu": gpu,
        "driver": driver,
        "runs": {name: {"passed": passed, "failed": failed}
                 for name, (passed, failed) in runs.items()},
        "passed": sum(passed for passed, _ in runs.values()),
        "failed": sum(failed for _, failed in runs.values()),
    }  # fmt: skip
    RECEIPT.parent.mkdir(exist_ok=True)
    RECEIPT.write_text(json.dumps(receipt, indent=2) + "\n")
    print(f"{receipt['passed']} passed, {receipt['failed']} failed on {gpu}: {RECEIPT}")
    return 1 if receipt["failed"] else 0


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
