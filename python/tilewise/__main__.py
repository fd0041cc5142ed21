"""`python -m tilewise`: what is installed here, and whether its attention is exact.

    python -m tilewise [--json] [--seconds 1] [--tensors]

Paste what it prints into a report of a bug. Exit status 0: everything that was tried is exact; 1:
something is not. A GPU that cannot run the calls, for instance because it has no kernels, is not
tried; the reason is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from tilewise import _checkup, _machine, _tensors


def main(arguments: list[str] | None = None) -> int:
    """Prints facts and findings; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tilewise",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="the same as one JSON object")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="how long to check for; 1 is enough for most"
    )
    parser.add_argument(
        "--tensors", action="store_true", help="check torch's tensors too, which takes some seconds"
    )
    options = parser.parse_args(arguments)
    facts = _machine.facts()
    findings = _checkup.check(options.seconds, facts["devices"])
    tensors = _tensors.check() if options.tensors else None
    failures = list(findings.failures)
    if isinstance(tensors, _checkup.Findings):
        failures += tensors.failures
    if options.json:
        more = tensors._asdict() if isinstance(tensors, _checkup.Findings) else tensors
        lines = [json.dumps({**facts, "check": findings._asdict(), "tensors": more})]
    else:
        lines = [
            f"{name:16} {', '.join(value) if isinstance(value, list) else value}".rstrip()
            for name, value in facts.items()
        ]
        lines.append(f"{'check':16} {findings.sentence()}")
        if tensors is not None:
            said = tensors if isinstance(tensors, str) else tensors.sentence()
            lines.append(f"{'tensors':16} {said}")
        lines += [f"{'':16} {failure}" for failure in failures]
        lines += [f"{'not checked':16} {refusal}" for refusal in findings.left_out]
    _say("\n".join(lines))
    return 1 if failures else 0


def _say(text: str) -> None:
    """Prints a text; ends the program if standard output cannot take it."""
    try:
        print(text, flush=True)
    except OSError as error:
        # Otherwise Python would write what is buffered as it ends, and fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        is_reader_gone = isinstance(error, BrokenPipeError)
        sys.exit(
            1 if is_reader_gone else f"tilewise: cannot write to standard output: {error.strerror}"
        )


if __name__ == "__main__":
    sys.exit(main())
