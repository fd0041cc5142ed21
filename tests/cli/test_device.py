"""--device: a GPU that the emulator plays, and the sentences where there is none.

The emulator's memory is closed to all but copies and kernels: a program that reads a tensor there
dies. Without --device the program takes this GPU, so that `run` is tested here from end to end.
"""

from __future__ import annotations

import json
import unittest

import program
from program import ProgramTest, played_gpu, start
from test_run import RunTest

PLAYED = "cuda:0, a GPU that is played, sm_90, 132 multiprocessors, driver of CUDA 12.8"


# As much of torch as bench/peers.py calls, with a clock of its own: a run takes 2 ms.
TORCH = """
import contextlib
from types import SimpleNamespace

float32 = SimpleNamespace(itemsize=4)
__version__ = "9.9"
runs = 0

class Tensor:
    def __init__(self, shape): self.shape = shape
    def to(self, dtype): return self
    def requires_grad_(self, wanted): return self

def randn(shape, dtype, device):
    assert device == "cuda:0", device
    return Tensor(shape)

def attend(query, key, value, is_causal):
    global runs
    runs += 1
    if way == "MATH":
        raise RuntimeError("No available kernel. Aborting execution.")
    return query

class Event:
    def __init__(self, enable_timing): pass
    def record(self): self.runs = runs
    def synchronize(self): pass
    def elapsed_time(self, end): return 2.0 * (end.runs - self.runs)

way = None
@contextlib.contextmanager
def sdpa_kernel(wanted):
    global way
    way = wanted
    yield
    way = None

def set_num_threads(threads): pass
def manual_seed(seed): pass
inference_mode = contextlib.nullcontext
nothing = lambda *_: None
cuda = SimpleNamespace(is_available=lambda: True, set_device=nothing, empty_cache=nothing,
                       synchronize=nothing, Event=Event)
import torch.nn
"""
TORCH_NN = """
from types import SimpleNamespace
from torch import attend
functional = SimpleNamespace(scaled_dot_product_attention=attend)
"""
TORCH_ATTENTION = """
from types import SimpleNamespace
from torch import sdpa_kernel
SDPBackend = SimpleNamespace(FLASH_ATTENTION="FLASH", EFFICIENT_ATTENTION="EFFICIENT", MATH="MATH")
"""


class OnPlayedGpu(ProgramTest):
    """Every program that is started sees the played GPU."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(program.surroundings.clear)
        program.surroundings.update(played_gpu())


class RunOnPlayedGpu(OnPlayedGpu, RunTest):
    """The tests of `run`, on the played GPU."""

    def test_it_says_where(self) -> None:
        words = (*self.inputs, "--output", self.path("o"))
        self.assertEqual(self.good(*words).splitlines()[0], f"on {PLAYED}")
        self.assertEqual(json.loads(self.good(*words, "--json"))["device"], "cuda:0")
        here = json.loads(self.good(*words, "--json", "--device", "cpu"))
        self.assertEqual(here["device"], "cpu")

    def test_tables_that_are_wrong_are_refused(self) -> None:
        query = self.give("packed", (5, 2, 4), [0.5] * 40)
        key = self.give("packed-key", (5, 1, 4), [0.5] * 20)
        offsets = self.give("offsets", (3,), [0, 4, 6], "<i8")
        result = start(
            *("run", "--query", query, "--key", key, "--value", key),
            *("--query-offsets", offsets, "--key-offsets", offsets, "--output", self.path("o")),
        )
        self.assert_refused(result, 2, "ends at 6 but")


class CommandsOnPlayedGpu(OnPlayedGpu):
    """The other commands."""

    def test_explain(self) -> None:
        text = self.good("explain", "--case", "packed")
        self.assertEqual(text.splitlines()[0], f"device     {PLAYED}")
        self.assertIn("\nbackend    cuda:", text)
        plan = json.loads(self.good("explain", "--case", "tiny", "--json", "--device", "cuda:0"))
        self.assertEqual(plan["backend"], "cuda")
        here = self.good("explain", "--case", "tiny", "--device", "cpu")
        self.assertRegex(here, r"\Adevice     cpu\n(.*\n)*backend    cpu:")

    def test_check(self) -> None:
        words = ("check", "--tier", "smoke", "--case", "random/gauss/float32")
        text = self.good(*words)
        self.assertEqual(text.splitlines()[0], f"On {PLAYED}.")
        self.assertIn("exact: ", text)
        report = json.loads(self.good(*words, "--json", "--device", "cuda"))
        self.assertTrue(report["exact"])
        self.assertEqual(report["device"], PLAYED)
        self.assertEqual(report["series"][0]["declined"], 0)

    def test_check_without_kernels(self) -> None:
        listed = json.loads(self.good("kernels", "list", "--json"))
        if listed["pack"]:
            self.skipTest("The library carries a pack.")
        nowhere = "/nowhere/libnvrtc.so.12"
        for words in (("--tier", "smoke"), ("--case", "random/gauss/float32", "--seed", "1")):
            result = start("check", *words, TILEWISE_NVRTC=nowhere)
            self.assert_refused(result, 3, "nothing can be checked on cuda:0: The library holds no")
            self.assertIn(f"TILEWISE_NVRTC names {nowhere}", result.stderr)
        for words in (
            ("demo", "--length", "64"),
            ("bench", "--case", "tiny", "--no-peers", "--seconds", "0.01"),
        ):
            result = start(*words, TILEWISE_NVRTC=nowhere)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("--device cpu takes the processor.", result.stderr)

    def test_demo(self) -> None:
        report = json.loads(self.good("demo", "--length", "64", "--json"))
        self.assertTrue(report["proved"])
        self.assertEqual(report["device"], PLAYED)
        self.assertEqual([plan["backend"] for plan in report["plans"]], ["cuda", "cuda"])
        self.assertEqual(
            report["backward"]["peak_resident_bytes"],
            report["operand_bytes"] + report["backward"]["workspace_bytes"],
        )

    def test_bench(self) -> None:
        folder = self.folder / "history"
        words = ("bench", "--case", "tiny", "--case", "packed", "--seconds", "0.01", "--json")
        report = json.loads(self.good(*words, "--no-peers", "--record", folder))
        self.assertEqual(report["device"]["name"], "a GPU that is played")
        self.assertEqual(report["device"]["driver"], "12.8")
        self.assertEqual(list(report["peak"]), ["float32", "float64", "tensor"])
        self.assertAlmostEqual(report["peak"]["tensor"]["gflops"], 132 * 1.98 * 4096, delta=1e3)
        self.assertIsNone(report["bandwidth"])
        self.assertEqual({row["backend"] for row in report["cases"]}, {"cuda"})
        for row in report["cases"]:
            self.assertGreater(row["seconds"], 0)
            self.assertEqual(row["peak_gflops"], report["peak"]["float32"]["gflops"])
        (path,) = folder.iterdir()
        self.assertEqual(path.name, "a-gpu-that-is-played.jsonl")
        table = self.good(*words[:-1], "--no-peers")
        self.assertEqual(table.splitlines()[0], f"On {PLAYED}.")

    def test_peers_of_a_gpu(self) -> None:
        (self.folder / "torch.py").write_text("raise ImportError('not today')\n")
        words = ("bench", "--case", "tiny", "--seconds", "0.01", "--json")
        report = json.loads(self.good(*words, PYTHONPATH=str(self.folder)))
        names = [peer["name"] for peer in report["peers"]]
        self.assertEqual(names, ["torch-flash", "torch-cudnn", "torch-efficient", "torch-math"])
        for peer in report["peers"]:
            self.assertIn("not today", peer["why"])

    def test_peers_are_timed_by_events(self) -> None:
        (self.folder / "torch" / "nn").mkdir(parents=True)
        (self.folder / "torch" / "__init__.py").write_text(TORCH)
        (self.folder / "torch" / "nn" / "__init__.py").write_text(TORCH_NN)
        (self.folder / "torch" / "nn" / "attention.py").write_text(TORCH_ATTENTION)
        words = ("bench", "--case", "tiny", "--direction", "forward", "--seconds", "0.1", "--json")
        report = json.loads(self.good(*words, PYTHONPATH=str(self.folder)))
        flash, cudnn, efficient, math = report["peers"]
        self.assertEqual((flash["version"], efficient["version"]), ("9.9", "9.9"))
        self.assertTrue(math["found"], math)
        self.assertIn("torch 9.9 has no CUDNN_ATTENTION", cudnn["why"])
        (row,) = report["cases"]
        self.assertEqual(list(row["ratios"]), ["torch-flash", "torch-efficient"])
        self.assertAlmostEqual(row["ratios"]["torch-flash"] * row["seconds"], 2e-3, delta=2e-5)

    def test_what_asks_for_the_processor_gets_it(self) -> None:
        words = ("explain", "--case", "tiny", "--json")
        for more, changes in (
            (("--backend", "plain"), {}),
            (("--threads", "1"), {}),
            ((), {"TILEWISE_BACKEND": "plain"}),
        ):
            plan = json.loads(self.good(*words, *more, **changes))
            self.assertNotEqual(plan["backend"], "cuda", (more, changes))
        self.assertEqual(json.loads(self.good(*words, "--backend", "cuda"))["backend"], "cuda")

    def test_the_backend_takes_the_gpu_that_can_be_used(self) -> None:
        words = ("explain", "--case", "tiny", "--json")
        for more, changes in (
            ((), {}),
            (("--backend", "cuda"), {}),
            ((), {"TILEWISE_BACKEND": "cuda"}),
        ):
            changes["TILEWISE_PLAYED_OLD"] = "1"
            device = self.good(*words[:-1], *more, **changes).splitlines()[0]
            self.assertIn("cuda:1, a GPU that is played", device)

    def test_contradictions(self) -> None:
        result = start("explain", "--case", "tiny", "--device", "cuda", "--backend", "plain")
        self.assert_refused(result, 2, "the backend plain, which runs on the processor")
        result = start("bench", "--case", "tiny", "--backend", "cuda", "--backend", "cpu")
        self.assert_refused(result, 2, "the backend cpu does not run on cuda:0")
        result = start("explain", "--case", "tiny", "--device", "cuda:1")
        self.assert_refused(result, 3, "there is no CUDA device 1: this process sees 1.")


class WithoutAGpu(ProgramTest):
    """A file named libcuda.so.1 that is no library stands in for a machine without a driver."""

    def setUp(self) -> None:
        super().setUp()
        (self.folder / "libcuda.so.1").write_text("no library\n")
        self.none = {"LD_LIBRARY_PATH": str(self.folder)}

    def test_every_command_says_why(self) -> None:
        files = [
            word
            for name in ("query", "key", "value")
            for word in (f"--{name}", self.give(name, (1, 1, 1, 1), [1.0]))
        ]
        for words in (
            ("demo",),
            ("check",),
            ("bench",),
            ("explain",),
            ("run", *files, "--output", self.path("o")),
        ):
            result = start(*words, "--device", "cuda", **self.none)
            sentence = "--device cuda cannot be had: there is no NVIDIA driver: "
            self.assert_refused(result, 3, sentence)
        result = start("explain", "--backend", "cuda", **self.none)
        self.assert_refused(result, 3, "the backend cuda cannot be had: there is no NVIDIA driver")

    def test_the_processor_does_it(self) -> None:
        text = self.good("explain", "--case", "tiny", **self.none)
        self.assertRegex(text, r"\Adevice     cpu\n(.*\n)*backend    cpu:")

    def test_words_that_name_no_device(self) -> None:
        for word in ("gpu", "cuda:", "cuda:x", "cuda:-1", "CUDA"):
            result = start("explain", "--device", word, **self.none)
            self.assert_refused(result, 2, f"--device takes cpu, cuda or cuda:N; '{word}' is none")


del RunTest  # test_run's own
if __name__ == "__main__":
    unittest.main()
