"""`python -m tilewise`: what is installed here, and whether its attention is exact.

    python -m tilewise [--json] [--seconds 1] [--tensors]

Paste what it prints into a report of a bug. Exit status 0: everything that was tried is exact; 1:
something is not. A GPU that can run none of it, as without kernels, is left out with the reason.
"""

from __future__ import annotations

import argparse
import json
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
        print(json.dumps({**facts, "check": findings._asdict(), "tensors": more}))
    else:
        for name, value in facts.items():
            print(f"{name:16} {', '.join(value) if isinstance(value, list) else value}".rstrip())
        print(f"{'check':16} {findings.sentence()}")
        if tensors is not None:
            said = tensors if isinstance(tensors, str) else tensors.sentence()
            print(f"{'tensors':16} {said}")
        for failure in failures:
            print(f"{'':16} {failure}")
        for refusal in findings.left_out:
            print(f"{'not checked':16} {refusal}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
