"""check_isa.py must notice instructions and symbols that leave their objects."""

import platform
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import check_isa

ISA = "build/src/backends/cpu/isa/"
LEAK = """
template <class T> T* put(T* to) { for (int i = 0; i < 64; ++i) to[i] += to[i]; return to; }
template float* put<float>(float*);
extern const int kTable;
const int kTable = 1;
"""
TABLE = """
static void put(float* to) { for (int i = 0; i < 64; ++i) to[i] += to[i]; }
struct Table { void (*put)(float*); };
extern const Table kTable;
const Table kTable{put};
"""


class Names(unittest.TestCase):
    """Which object is whose."""

    def test_isa_name(self) -> None:
        """Files of the folder but the one that chooses."""
        self.assertEqual(check_isa.isa_name(ISA + "avx2.cpp.o"), "avx2")
        self.assertEqual(check_isa.isa_name("backends/cpu/isa/neon.cpp.o"), "neon")
        self.assertIsNone(check_isa.isa_name(ISA + "isa.cpp.o"))
        self.assertIsNone(check_isa.isa_name("src/backends/cpu/avx2.cpp.o"))
        self.assertIsNone(check_isa.isa_name("avx2.cpp.o"))


class Instructions(unittest.TestCase):
    """What asks for more than the baseline."""

    def test_kinds(self) -> None:
        """By register and by mnemonic."""
        for text, kind in (
            ("mulps %xmm0,%xmm1", ""),
            ("mov %rax,%rbx", ""),
            ("verr %ax", ""),
            ("vzeroupper", "AVX"),
            ("vmulss %xmm0,%xmm1,%xmm1", "AVX"),
            ("vmovups %ymm0,(%rax)", "AVX"),
            ("vmovups %zmm0,(%rax)", "AVX512"),
            ("vaddps %xmm17,%xmm1,%xmm1", "AVX512"),
            ("vmovups (%rax),%ymm1{%k1}", "AVX512"),
            ("tdpbf16ps %tmm0,%tmm1,%tmm2", "AMX"),
            ("ldtilecfg (%rax)", "AMX"),
            ("vdpbf16ps %zmm0,%zmm1,%zmm2", "BF16"),
            ("vcvtne2ps2bf16 %zmm0,%zmm1,%zmm2", "BF16"),
            ("popcnt %rax,%rbx", "SSE4"),
            ("ptest %xmm0,%xmm0", "SSE4"),
            ("haddps %xmm0,%xmm0", "SSE4"),
            ("mulx %rax,%rbx,%rcx", "BMI"),
            ("tzcnt %rax,%rbx", ""),
            ("andnps %xmm0,%xmm1", ""),
            ("pmaxub %xmm0,%xmm1", ""),
            ("pinsrw $0x1,%eax,%xmm0", ""),
        ):
            self.assertEqual(check_isa.kind_of(text), kind, text)

    def test_listing(self) -> None:
        """Names and addresses are no instructions."""
        listing = [
            "0000000000000000 <vector>:",
            "   0:\tmovups 0x0(%rip),%xmm0        # 7 <very_ymm>",
            "   7:\tcall   c <vanish>",
            "   c:\tvmovaps %ymm0,%ymm1",
        ]
        wide = check_isa.wide_instructions(listing)
        self.assertEqual(wide, [check_isa.Wide("AVX", "vmovaps %ymm0,%ymm1")])

    def test_who_may(self) -> None:
        """Each object what its machine has."""
        avx, avx512 = [check_isa.Wide("AVX", "vzeroupper")], [check_isa.Wide("AVX512", "kmov")]
        bf16, amx = [check_isa.Wide("BF16", "vdpbf16ps")], [check_isa.Wide("AMX", "tilerelease")]
        for path, wide, bad in (
            ("src/plan/work.cpp.o", avx, 1),
            (ISA + "isa.cpp.o", avx, 1),
            (ISA + "portable.cpp.o", avx, 1),
            (ISA + "portable.cpp.o", [], 0),
            (ISA + "avx2.cpp.o", avx, 0),
            (ISA + "avx2.cpp.o", avx512, 1),
            (ISA + "avx512.cpp.o", avx + avx512, 0),
            (ISA + "avx512.cpp.o", avx512 + bf16, 1),
            (ISA + "avx512_bf16.cpp.o", avx512 + bf16, 0),
            (ISA + "avx512_bf16.cpp.o", avx512 + amx, 1),
            (ISA + "amx_bf16.cpp.o", avx512 + bf16 + amx, 0),
        ):
            self.assertEqual(len(check_isa.instruction_complaints(path, wide)), bad, path)


class Symbols(unittest.TestCase):
    """Tables and nothing else."""

    def test_weak_and_others(self) -> None:
        """Weak symbols, functions and tables without values are named."""
        path = ISA + "avx2.cpp.o"
        good = "kAvx2 D 0 1\n_ZL3put t 0 1\n"
        self.assertEqual(check_isa.symbol_complaints(path, good), [])
        self.assertEqual(len(check_isa.symbol_complaints(path, good + "_Z4leakv W 0 1\n")), 1)
        self.assertEqual(len(check_isa.symbol_complaints(path, good + "kValue u 0 1\n")), 1)
        self.assertEqual(check_isa.symbol_complaints(path, good + "kNumbers R 0 1\n"), [])
        self.assertEqual(len(check_isa.symbol_complaints(path, good + "leak T 0 1\n")), 1)
        self.assertEqual(len(check_isa.symbol_complaints(path, good + "kLate B 0 1\n")), 1)
        self.assertEqual(len(check_isa.symbol_complaints(path, "_ZL3put t 0 1\n")), 1)
        self.assertEqual(check_isa.symbol_complaints("src/a.cpp.o", "_Z4leakv W 0 1\n"), [])


@unittest.skipUnless(platform.machine() == "x86_64" and shutil.which("c++"), "needs x86-64 and c++")
class Objects(unittest.TestCase):
    """Objects that a compiler made."""

    def status(self, objects: dict[str, tuple[str, str]]) -> int:
        """What main says of {path: (text, options)}."""
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, (text, options) in objects.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                command = ["c++", "-O3", *options.split(), "-x", "c++", "-c", "-", "-o", str(path)]
                subprocess.run(command, input=text, text=True, check=True)
                paths.append(str(path))
            return check_isa.main(paths)

    def test_leaks(self) -> None:
        """A template that is not always inlined, and options in the wrong place."""
        avx2, plain = ISA + "avx2.cpp.o", "src/plan/work.cpp.o"
        good = {avx2: (TABLE, "-mavx2"), plain: (LEAK, "")}
        self.assertEqual(self.status(good), 0)
        self.assertEqual(self.status({**good, avx2: (LEAK, "-mavx2")}), 1)
        self.assertEqual(self.status({**good, plain: (LEAK, "-mavx2")}), 1)
        self.assertEqual(self.status({**good, avx2: (TABLE, "")}), 1)
        self.assertEqual(self.status({plain: (LEAK, "")}), 1)


if __name__ == "__main__":
    unittest.main()
