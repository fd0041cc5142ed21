"""check_words.py must find the machine's own names outside device/, and nothing else."""

import tempfile
import unittest
from pathlib import Path

import check_words

KERNEL = "src/backends/cuda/kernels/plain/forward.h"


class Words(unittest.TestCase):
    """What is refused, and where."""

    def count(self, path: str, text: str) -> int:
        """How many complaints a file gets."""
        return len(check_words.check_file(path, text))

    def test_assembly(self) -> None:
        """Stands in device/ alone; what the processor runs has its own rules."""
        for text in ('asm volatile("bar.sync 0;");', '__asm__("");', 'asm("" : "+r"(x));'):
            with self.subTest(text=text):
                self.assertEqual(self.count(KERNEL, text), 1)
                self.assertEqual(self.count("src/core/math.h", text), 1)
                self.assertEqual(self.count("src/backends/cuda/device/copy.h", text), 0)
                self.assertEqual(self.count("src/backends/cpu/simd/vector.h", text), 0)

    def test_names_of_the_machine(self) -> None:
        """A kernel has words for them; the host's side may write them as text."""
        for text in (
            "__syncthreads();",
            "x = __shfl_xor_sync(~0u, x, 1);",
            "int t = threadIdx.x;",
            "atomicAdd(p, 1);",
            "__shared__ float x[4];",
        ):
            with self.subTest(text=text):
                self.assertEqual(self.count(KERNEL, text), 1)
                self.assertEqual(self.count("src/backends/cuda/device/thread.h", text), 0)

    def test_what_is_no_machine(self) -> None:
        """Comments, texts, and what every compiler has."""
        for text in (
            "// asm and __syncthreads are words of device/\n",
            'call("__syncthreads");',
            "x = __builtin_bit_cast(float, y);",
            "int assembly = atomics;",
        ):
            with self.subTest(text=text):
                self.assertEqual(self.count(KERNEL, text), 0)

    def test_one_word_for_one_thing(self) -> None:
        """As a name, or a part of one. Its own place, prose and the GPU are left alone."""
        for text in ("int share = 1;", "first_share(n);", "double share_of(Row);", "int shares_;"):
            with self.subTest(text=text):
                self.assertEqual(self.count("src/plan/work.cpp", text), 1)
                self.assertEqual(self.count("src/parallel/pool.cpp", text), 0)
                self.assertEqual(self.count("src/backends/cuda/backend.cpp", text), 0)
                self.assertEqual(self.count("tests/plan/work_test.cpp", text), 0)
        for text in ("// each has a share\n", 'text("share");', "int shared;"):
            with self.subTest(text=text):
                self.assertEqual(self.count("src/plan/work.cpp", text), 0)

    def test_the_line_is_told(self) -> None:
        """Also behind a comment of several lines."""
        found = check_words.check_file(KERNEL, "/* a\n b */\nasm();\n")
        self.assertIn(f"{KERNEL}:3: asm", found[0])

    def test_the_program_fails(self) -> None:
        """On a wrong file, and where there is nothing to check."""
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_words.main([folder]), 1)
            path = Path(folder) / KERNEL
            path.parent.mkdir(parents=True)
            path.write_text("int x;\n")
            self.assertEqual(check_words.main([folder]), 0)
            path.write_text("asm();\n")
            self.assertEqual(check_words.main([folder]), 1)


if __name__ == "__main__":
    unittest.main()
