"""Times attention in libraries that are reached through Python, when `tilewise bench` asks.

For each peer `tilewise bench` starts a process, `python -c TEXT PEER THREADS DEVICE` with this file
as TEXT, and talks with it in lines of JSON on standard input and output:

    first line           {"peer": NAME, "version": TEXT} or {"missing": SENTENCE}
    {"prepare": CASE}    {"first": SECONDS} of one run after warming up, or {"declines": SENTENCE}
    {"run": SECONDS}     {"times": [SECONDS, ...]}, runs until so many seconds are spent

The process ends when its standard input ends. If an exception ends a request, the answer is
{"failed": SENTENCE}. DEVICE is cpu, cuda or cuda:N. On a GPU a time is the mean of a batch of runs
between two CUDA events.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time

MOST_RUNS = 2000


class DeclinedError(Exception):
    """The peer does not run this case; the message says why."""


class Peer:
    """How all peers are timed."""

    def timed(self, run, runs=1):
        """Seconds of one run, the mean of `runs` in a row."""
        start = time.perf_counter()
        for _ in range(runs):
            run()
        return (time.perf_counter() - start) / runs

    def runs_a_batch(self, _seconds_a_run):
        """How many runs are timed together."""
        return 1


class Torch(Peer):
    """torch.nn.functional.scaled_dot_product_attention, and its gradients by autograd."""

    def __init__(self, threads, device):
        # Large pages for large tensors, as the benchmark gives tilewise's tensors.
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.torch = torch
        self.device = device
        self.version = torch.__version__

    def attention(self, query, key, value, options):
        return self.torch.nn.functional.scaled_dot_product_attention(query, key, value, **options)

    def prepare(self, case):
        torch = self.torch
        dtype = getattr(torch, case["dtype"], None)
        if dtype is None or dtype.itemsize == 1:
            raise DeclinedError(f"torch has no attention in {case['dtype']}")
        is_backward = case["direction"] == "backward"

        def normal(shape):
            return torch.randn(shape, dtype=torch.float32, device=self.device).to(dtype)

        def draw(heads, rows, dim):
            return normal((case["batch"], heads, rows, dim)).requires_grad_(is_backward)

        query = draw(case["heads"], case["queries"], case["dim"])
        key = draw(case["key_heads"], case["keys"], case["dim"])
        value = draw(case["key_heads"], case["keys"], case["value_dim"])
        options = {"is_causal": case["causal"]}
        if case["scale"] is not None:
            options["scale"] = case["scale"]
        if case["heads"] != case["key_heads"]:
            options["enable_gqa"] = True

        def forward():
            return self.attention(query, key, value, options)

        if not is_backward:

            def forward_alone():
                with torch.inference_mode():
                    forward()

            return forward_alone
        output = forward()
        gradient = normal(output.shape)
        return lambda: torch.autograd.grad(output, (query, key, value), gradient, retain_graph=True)


class TorchOnGpu(Torch):
    """One of torch's backends on a GPU, and no other."""

    BATCH_SECONDS = 0.01
    MOST_RUNS_A_BATCH = 1000
    way = ""

    def __init__(self, threads, device):
        super().__init__(threads, device)
        if not self.torch.cuda.is_available():
            raise ImportError(f"torch {self.version} has no GPU here")
        self.torch.cuda.set_device(self.device)
        attention = importlib.import_module("torch.nn.attention")
        self.sdpa_kernel = attention.sdpa_kernel
        self.backend = getattr(attention.SDPBackend, self.way, None)
        if self.backend is None:
            raise ImportError(f"torch {self.version} has no {self.way}")

    def attention(self, query, key, value, options):
        with self.sdpa_kernel(self.backend):
            return super().attention(query, key, value, options)

    def prepare(self, case):
        # Frees the last case's memory for the other contestants.
        self.torch.cuda.empty_cache()
        try:
            run = super().prepare(case)
            run()
            self.torch.cuda.synchronize()
        except RuntimeError as error:
            if "No available kernel" in str(error) or "out of memory" in str(error):
                raise DeclinedError(one_line(error)) from error
            raise
        return run

    def timed(self, run, runs=1):
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(runs):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / runs

    def runs_a_batch(self, seconds_a_run):
        runs = self.BATCH_SECONDS / max(seconds_a_run, 1e-9)
        return max(1, min(self.MOST_RUNS_A_BATCH, int(runs)))


class TorchFlash(TorchOnGpu):
    way = "FLASH_ATTENTION"


class TorchCudnn(TorchOnGpu):
    way = "CUDNN_ATTENTION"


class TorchEfficient(TorchOnGpu):
    way = "EFFICIENT_ATTENTION"


class TorchMath(TorchOnGpu):
    way = "MATH"


class OnnxRuntime(Peer):
    """The operator MultiHeadAttention of ONNX Runtime, in a model of this one node."""

    def __init__(self, threads, _device):
        import onnxruntime

        # Imported after onnxruntime, which brings numpy, so that the error names onnxruntime.
        numpy = importlib.import_module("numpy")
        self.numpy = numpy
        self.onnxruntime = onnxruntime
        self.version = onnxruntime.__version__
        self.threads = threads

    def prepare(self, case):
        if case["dtype"] != "float32" or case["direction"] != "forward":
            raise DeclinedError("onnxruntime is measured forward in float32")
        if case["heads"] != case["key_heads"] or case["dim"] != case["value_dim"]:
            raise DeclinedError("onnxruntime is measured where query, key and value have one shape")
        width = case["heads"] * case["dim"]
        shapes = {
            "query": (case["batch"], case["queries"], width),
            "key": (case["batch"], case["keys"], width),
            "value": (case["batch"], case["keys"], width),
            "output": (case["batch"], case["queries"], width),
        }
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = self.onnxruntime.InferenceSession(
            one_node_model(case, shapes), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        random = self.numpy.random.default_rng(1)
        for name in ("query", "key", "value"):
            binding.bind_cpu_input(name, random.standard_normal(shapes[name], "float32"))
        output = self.onnxruntime.OrtValue.ortvalue_from_numpy(
            self.numpy.zeros(shapes["output"], "float32")
        )
        binding.bind_ortvalue_output("output", output)
        return lambda: session.run_with_iobinding(binding)


# A model is a protocol buffer of ONNX's onnx.proto. Its few fields are written by hand, so that the
# package `onnx` is not needed.


def varint(number):
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field(number, content):
    """One field: a whole number, or bytes (a nested message, a text) after their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    if isinstance(content, str):
        content = content.encode()
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor_info(name, shape):
    float32 = 1
    dims = b"".join(field(1, field(1, size)) for size in shape)
    tensor = field(1, float32) + field(2, dims)
    return field(1, name) + field(2, field(1, tensor))


def attribute(name, value):
    whole_number = 2
    return field(1, name) + field(3, value) + field(20, whole_number)


def one_node_model(case, shapes):
    domain = "com.microsoft"
    inputs = ("query", "key", "value")
    node = b"".join(field(1, name) for name in inputs) + field(2, "output")
    node += field(4, "MultiHeadAttention") + field(7, domain)
    node += field(5, attribute("num_heads", case["heads"]))
    if case["causal"]:
        node += field(5, attribute("unidirectional", 1))
    graph = field(1, node) + field(2, "attention")
    graph += b"".join(field(11, tensor_info(name, shapes[name])) for name in inputs)
    graph += field(12, tensor_info("output", shapes["output"]))
    model = field(1, 8) + field(7, graph)
    model += field(8, field(1, "") + field(2, 17))
    return model + field(8, field(1, domain) + field(2, 1))


PEERS = {
    "torch": Torch,
    "torch-flash": TorchFlash,
    "torch-cudnn": TorchCudnn,
    "torch-efficient": TorchEfficient,
    "torch-math": TorchMath,
    "onnxruntime": OnnxRuntime,
}


def first_time(peer, run):
    # The first run prepares threads and memory, and counts only if that is a small part of it.
    first = peer.timed(run)
    return first if first > 0.5 else peer.timed(run)


def times_within(peer, run, runs, budget):
    times = []
    spent = 0.0
    while not times or (spent < budget and len(times) < MOST_RUNS):
        times.append(peer.timed(run, runs))
        spent += times[-1] * runs
    return times


def answer(peer, request, state):
    if "prepare" in request:
        state["run"] = None  # the last case's memory goes first
        try:
            state["run"] = peer.prepare(request["prepare"])
            first = first_time(peer, state["run"])
            state["runs"] = peer.runs_a_batch(first)
            return {"first": first}
        except DeclinedError as reason:
            return {"declines": str(reason)}
    return {"times": times_within(peer, state["run"], state["runs"], request["run"])}


def one_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main():
    # Answers go to a copy of standard output, since libraries may print to standard output.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message):
        answers.write(json.dumps(message) + "\n")

    name, threads, device = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    try:
        peer = PEERS[name](threads, device)
    except ImportError as error:
        say({"missing": f"{sys.executable} cannot import it ({one_line(error)})"})
        return
    say({"peer": name, "version": peer.version})
    state = {}
    for line in sys.stdin:
        try:
            say(answer(peer, json.loads(line), state))
        except Exception as error:
            say({"failed": one_line(error)})


main()
