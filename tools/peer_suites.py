"""Runs the tests of other packages through tilewise, and says what passed.

    python tools/peer_suites.py --flash-attention FOLDER --pytorch FOLDER [--device cuda]

The folders are checkouts of those packages, or the parts of them that SUITES names; for PyTorch a
checkout of torch_npu will do, which has a copy of PyTorch's tests. Nothing in the folders changes:
the files needed are copied to --work, where FlashAttention's say "cpu" in place of "cuda" if they
run on the processor. Each suite runs in a process of its own, in which `import flash_attn` means
tilewise.flash_attn, or torch's scaled_dot_product_attention means tilewise.sdpa. The suites have
many thousands of cases, so of each function some are drawn by chance, with lengths that are scaled
down to --longest.

It takes a Python with tilewise, torch, pytest, einops, transformers and expecttest.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

TOOLS = Path(__file__).resolve().parent


class Suite(NamedTuple):
    """The tests that one process runs: test files of a checkout, and files that they need."""

    checkout: str
    tests: tuple[str, ...]
    beside: tuple[str, ...] = ()


# Cases that test what docs/drop-in.md and docs/pytorch.md exclude: patterns of the case's name and
# of its message, and the reason.
OUTSIDE = (
    ("paged_kv_num_splits", "DID NOT RAISE", "num_splits changes nothing, so 2 is taken as well"),
    ("block_table_bounds", "DID NOT RAISE", "nobody waits to look at lengths on a GPU"),
    ("block_table_bounds", r"'cache_seqlens\[0\] is", "it is cache_seqlens that is refused"),
    ("compilation_count", "rotary_kernel", "there is no kernel of Triton's to count"),
    ("invalid_head_dim", "DID NOT RAISE", "any head dim is taken"),
    ("_mla_", "gather_kv_indices is given", "gather_kv_indices is refused"),
    ("", "attribute 'compile_cache'", "there is no cache of CuTe's kernels"),
    (
        "",
        r"assert \d\.\d+e-0[5-9] <= \(\(2 \* 0\.0\) ",
        "a query that sees one key must have no gradient at all",
    ),
    ("varlen_output", "DataDependentOutput", "a window that is a tensor cannot be traced"),
    ("cumsum_metadata_paths", "assert None is not None", "metadata are empty"),
    ("seqlen_k_per_split", "did not reach the kernel", "how keys are split changes no bit"),
    ("mask_check_fastpath", "is not true", "enable() switches the fast path off"),
    ("two_masks_fast_path_mock", "is not true", "enable() switches the fast path off"),
    # These compare with a mask of torch's own. A NaN is a fault whatever is dropped.
    (
        "(vs_math_ref_grads|scaled_dot_product_attention_[34]D_input).*dropout_p_0_[1-9]",
        r"not close(?!.*difference: nan)",
        "other weights are dropped",
    ),
    ("throws_determinism_warning", "not triggered", "its gradients are deterministic then"),
    ("with_nested_tensor_input", "get_fastpa", "enable() switches the fast path off"),
    ("nested_tensor_outside_fast_path", "get_fastpa", "enable() switches the fast path off"),
    # Calls that one or another of torch's kernels for a GPU refuses.
    ("invalid_fused_inputs", "not ", "tilewise takes it"),
    ("invalid_sequence_lengths", "not ", "tilewise takes it"),
    ("invalid_last_dim_stride", "not ", "tilewise takes it"),
    ("unaligned_tensors", "not ", "tilewise takes it"),
    ("flash_fail_fp32", "not ", "tilewise takes it"),
    ("is_causal_gpu", "RuntimeError not raised", "tilewise takes it"),
    ("flash_backward_failure", "not ", "tilewise takes it"),
    ("flash_attention_fail_with_non_square", "not ", "tilewise takes it"),
)

SUITES = {
    "flash_attn": Suite(
        "flash_attention",
        ("tests/test_flash_attn.py", "tests/test_rotary.py"),
    ),
    "flash_attn_3": Suite(
        "flash_attention",
        (
            "hopper/test_flash_attn.py",
            "hopper/test_torch_compile_and_export.py",
        ),
        ("hopper/test_util.py", "hopper/padding.py"),
    ),
    "flash_attn_4": Suite(
        "flash_attention",
        (
            "tests/cute/test_flash_attn.py",
            "tests/cute/test_flash_attn_varlen.py",
            "tests/cute/test_flash_attn_combine.py",
            "tests/cute/test_flash_attn_fast.py",
        ),
        ("flash_attn/cute/testing.py",),
    ),
    "sdpa": Suite("pytorch", ("test/test_transformers.py", "test/nn/test_multihead_attention.py")),
    "operators": Suite(
        "pytorch",
        (
            "test/test_ops.py",
            "test/test_ops_gradients.py",
            "test/test_ops_fwd_gradients.py",
            "test/test_modules.py",
        ),
    ),
}


def why_outside(function: str, said: str) -> str | None:
    """Why a failed case is outside of what tilewise promises; None if it is a fault."""
    for name, pattern, why in OUTSIDE:
        if re.search(name, function) and re.search(pattern, said):
            return why
    return None


def prepare(suite: Suite, checkout: Path, folder: Path, device: str) -> list[str]:
    """Writes a suite's files to `folder`, adapted to the device, and returns the names of the test
    files, which are their paths with _ for /. Files that the checkout lacks are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    tests = []
    for path in (*suite.tests, *suite.beside):
        if not (checkout / path).exists():
            print(f"{checkout} has no {path}: it is left out.")
            continue
        text = (checkout / path).read_text()
        if device == "cpu" and suite.checkout == "flash_attention":
            text = on_the_processor(text)
        if "import torch_npu" in text:
            text = as_torch_had_them(text, device)
        name = Path(path).name
        if path in suite.tests:
            name = path.replace("/", "_")
            tests.append(name)
        (folder / name).write_text(text)
    return tests


def on_the_processor(text: str) -> str:
    """The tests' text with "cpu" in place of "cuda"."""
    text = re.sub(r"""(["'])cuda\1""", r"\1cpu\1", text)
    return text.replace(".cuda()", ".cpu()")


# Patterns for what torch_npu changed in torch's tests, and what replaces them. The skips of tests
# that its devices cannot run go; the flags of a GPU's generation (isSM..., isLessThan...) become
# False.
_OF_TORCH_NPU = (
    (r"^import torch_npu.*\n", ""),
    (r"""^ *@unittest\.skip\(["'](Does not support now|NPU doesn't support yet\.)["']\)\n""", ""),
    (r"^(is(SM|LessThan)\w+ = ).*", r"\1False"),
    (r"torch_npu\.npu\b", "torch.cuda"),
    (r"(NpuOnly, globals\(\), only_for=)\S+(?=\))", r"\1'cuda'"),
    (r"""(only_for=)["']privateuse1["']""", r"\1('cpu', 'cuda')"),
    (r"""\(["']privateuse1["'], \)""", "('cpu', 'cuda')"),
    (r"(?<!_get_)privateuse1", "cuda"),
    (r"onlyPRIVATEUSE1", "onlyCUDA"),
    (r"(?<![a-z])npu(?![a-z])", "cuda"),
    (r"NPU(?=[Gg]raph)", "CUDA"),
)


def as_torch_had_them(text: str, device: str) -> str:
    """torch's tests for this device, restored from torch_npu's copies of them."""
    for pattern, before in _OF_TORCH_NPU:
        text = re.sub(pattern, before, text, flags=re.MULTILINE)
    return text.replace("PRIVATEUSE1", device.upper())


def run(asked: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Runs one suite in a process of its own and returns what it counted."""
    result, seconds = folder / "result.json", asked["seconds"]
    result.unlink(missing_ok=True)
    # One thread is faster on a machine that others use as well.
    environment = os.environ | {"PYTORCH_TESTING_DEVICE_ONLY_FOR": asked["device"]}
    environment.setdefault("OMP_NUM_THREADS", "1")
    # torch's own test runner sets this, for tests that load whole modules.
    environment.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    given = environment.get("PYTHONPATH", "").split(os.pathsep)  # they run in another folder
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in given if path)
    command = [sys.executable, str(TOOLS / "peer_cases.py"), json.dumps(asked)]
    status: int | str
    with (folder / "log.txt").open("w") as log:
        try:
            where: dict[str, Any] = {"cwd": folder, "env": environment, "stdout": log}
            status = subprocess.call(command, timeout=2 * seconds + 60, stderr=log, **where)
        except subprocess.TimeoutExpired:
            status = "a case that does not end"
    if not result.exists():
        print(f"It ended with {status}, before a case ran: {folder / 'log.txt'} says why.")
        return {"rows": {}, "failures": {}, "notes": []}
    found: dict[str, Any] = json.loads(result.read_text())
    if died := why_it_died(status):
        found["failures"]["the process itself"] = died
        found["rows"]["the process itself"] = {"failed": 1}
    return found


def why_it_died(status: int | str) -> str:
    """Why the process of a suite ended in the middle of a case; "" if it ended by itself."""
    if isinstance(status, int) and status >= 0:
        return ""
    how = f"signal {-status}" if isinstance(status, int) else status
    return f"It ended with {how}. The cases after that did not run; the log says which one it was."


def without_torchs(asked: dict[str, Any], found: dict[str, Any], folder: Path) -> None:
    """Runs the failed cases again with torch's own function. Those that fail there too are no fault
    of tilewise (torch has changed, or they need another machine): they count as outside."""
    failures = found["failures"]
    failed = [
        case
        for case, why in failures.items()
        if case in found["row_of"] and not why.startswith("(outside")
    ]
    if not failed or asked["own"]:
        return
    there = folder / "own"
    there.mkdir(exist_ok=True)
    for test in asked["tests"]:
        (there / test).write_text((folder / test).read_text())
    more = {"own": True, "cases_named": failed, "result": str(there / "result.json")}
    again = run(asked | more | {"seconds": max(60, asked["seconds"])}, there)
    for case in set(failed) & set(again["failures"]):
        row = found["rows"][found["row_of"][case]]
        row["failed"] -= 1
        row["outside"] = row.get("outside", 0) + 1
        failures[case] = "(outside: torch's own function fails it as well)"


def show(name: str, found: dict[str, Any], folder: Path) -> int:
    """Prints a suite's table and its failures; returns how many there are."""
    print(f"\n| {name} | passed | skipped | outside | failed |\n|---|---|---|---|---|")
    sums = [0, 0, 0, 0]
    outcomes = ("passed", "skipped", "outside", "failed")
    for test, row in sorted(found["rows"].items()):
        counts = [row.get(outcome, 0) for outcome in outcomes]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        print(f"| {test} | {' | '.join(map(str, counts))} |")
    print(f"| all | {' | '.join(map(str, sums))} |\n")
    for note in found["notes"]:
        print(note)
    for case, why in found["failures"].items():
        print(f"FAILED {case}\n    {why}")
    print(f"{folder / 'log.txt'} has all that was said.", flush=True)
    return sums[-1]


def main(arguments: list[str]) -> int:
    """Runs the suites that the command line names; 1 when a case failed or nothing ran."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--flash-attention", type=Path, metavar="FOLDER")
    parser.add_argument("--pytorch", type=Path, metavar="FOLDER")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, default=Path("build/peer_suites"), metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=600, help="for each suite")
    parser.add_argument("--cases", type=int, default=30, help="of each function of tests")
    parser.add_argument("--longest", type=int, default=400, help="lengths above it are scaled down")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--only", default="", help="a part of the names of what runs")
    parser.add_argument("--without", default="", help="a part of the names of what does not run")
    parser.add_argument("--own", action="store_true", help="torch's own function, to compare")
    given = parser.parse_args(arguments)
    unknown = set(given.suites) - set(SUITES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: it takes {', '.join(SUITES)}.")
    failed = ran = 0
    for name, suite in SUITES.items():
        checkout = getattr(given, suite.checkout)
        if checkout is None or (given.suites and name not in given.suites):
            continue
        folder = given.work.resolve() / name
        tests = prepare(suite, checkout.resolve(), folder, given.device)
        wanted = ("device", "seconds", "cases", "longest", "seed", "only", "without", "own")
        asked = {option: getattr(given, option) for option in wanted}
        asked |= {"suite": name, "tests": tests, "result": str(folder / "result.json")}
        asked["cases_named"] = []
        found = run(asked, folder)
        if suite.checkout == "pytorch":
            without_torchs(asked, found, folder)
        failed += show(name, found, folder)
        ran += len(found["rows"])
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
