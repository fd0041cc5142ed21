"""check_words.py must find the machine's own names outside device/, and nothing else."""

import tempfile
import unittest
from pathlib import Path

import check_words

KERNEL = "src/backends/cuda/kernels/plain/forward.h"
CORE, PLAN, POOL = "src/core/math.h", "src/plan/work.cpp", "src/parallel/pool.cpp"
DEVICE, CPU = "src/backends/cuda/device/thread.h", "src/backends/cpu/simd/vector.h"
TEST, GPU = "tests/plan/work_test.cpp", "src/backends/cuda/backend.cpp"
TILE, BACKWARD = (f"src/backends/cuda/kernels/sm80/{name}.h" for name in ("tile", "backward_order"))
# (texts, where each is refused, where it may stand)
RULES: list[tuple[list[str], list[str], list[str]]] = [
    (['asm volatile("");', '__asm__("");', 'asm("" : "+r"(x));'], [KERNEL, CORE], [DEVICE, CPU]),
    (["__syncthreads();", "x = __shfl_xor_sync(~0u, x, 1);"], [KERNEL], [DEVICE]),
    (["int t = threadIdx.x;", "atomicAdd(p, 1);", "__shared__ float x[4];"], [KERNEL], [DEVICE]),
    (["// asm and __syncthreads are words of device/\n", 'call("__syncthreads");'], [], [KERNEL]),
    (["x = __builtin_bit_cast(float, y);", "int assembly = atomics;"], [], [KERNEL]),
    (["int share = 1;", "first_share(n);", "int shares_;"], [PLAN, GPU], [POOL, TILE, TEST]),
    (["struct FirstShare {};", "kShares = 4;"], [PLAN, GPU], [POOL, TILE, TEST]),
    (["isSlant(x);", "struct Stair;", "is_wounded(x);"], [PLAN, POOL, BACKWARD], [TEST]),
    (["wait_for_turn(tile);"], [PLAN, GPU, TILE], [BACKWARD, TEST]),
    (["// each has a share\n", 'text("share");', "int shared;"], [], [PLAN]),
]


class Words(unittest.TestCase):
    """What is refused, and where."""

    def test_each_rule(self) -> None:
        for texts, refused, allowed in RULES:
            for path in refused + allowed:
                for text in texts:
                    with self.subTest(path=path, text=text):
                        found = check_words.check_file(path, "/* a\n b */\n" + text)
                        self.assertEqual(len(found), path in refused)
                        self.assertTrue(not found or found[0].startswith(f"{path}:3: "))

    def test_the_program_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_words.main([folder]), 1)  # nothing to check
            path = Path(folder) / KERNEL
            path.parent.mkdir(parents=True)
            for text, status in (("int x;\n", 0), ("asm();\n", 1)):
                path.write_text(text)
                self.assertEqual(check_words.main([folder]), status)
