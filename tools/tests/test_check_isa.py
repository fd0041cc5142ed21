"""check_isa.py must notice instructions and symbols that leave their objects."""

import platform
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import check_isa
from check_isa import Wide

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
KINDS = {
    "": "mulps %xmm0,%xmm1|mov %rax,%rbx|verr %ax|tzcnt %rax,%rbx|pmaxub %xmm0,%xmm1",
    "AVX": "vzeroupper|vmulss %xmm0,%xmm1,%xmm1|vmovups %ymm0,(%rax)",
    "AVX512": "vmovups %zmm0,(%rax)|vaddps %xmm17,%xmm1,%xmm1|vmovups (%rax),%ymm1{%k1}",
    "AMX": "tdpbf16ps %tmm0,%tmm1,%tmm2|ldtilecfg (%rax)",
    "BF16": "vdpbf16ps %zmm0,%zmm1,%zmm2|vcvtne2ps2bf16 %zmm0,%zmm1,%zmm2",
    "SSE4": "popcnt %rax,%rbx|ptest %xmm0,%xmm0|haddps %xmm0,%xmm0",
    "BMI": "mulx %rax,%rbx,%rcx",
}


class Listings(unittest.TestCase):
    """What is read out of objdump and nm."""

    def test_kinds_of_instructions(self) -> None:
        for kind, texts in KINDS.items():
            for text in texts.split("|"):
                self.assertEqual(check_isa.kind_of(text), kind, text)

    def test_names_and_addresses_are_no_instructions(self) -> None:
        listing = [
            "0000000000000000 <vector>:",
            "   0:\tmovups 0x0(%rip),%xmm0        # 7 <very_ymm>",
            "   7:\tcall   c <vanish>",
            "   c:\tvmovaps %ymm0,%ymm1",
        ]
        wide = check_isa.wide_instructions(listing)
        self.assertEqual(wide, [Wide("AVX", "vmovaps %ymm0,%ymm1")])

    def test_each_object_has_what_its_machine_has(self) -> None:
        for path, kinds, bad in (
            ("src/plan/work.cpp.o", "AVX", 1),
            ("src/backends/cpu/avx2.cpp.o", "AVX", 1),
            (ISA + "isa.cpp.o", "AVX", 1),
            (ISA + "portable.cpp.o", "AVX", 1),
            (ISA + "portable.cpp.o", "", 0),
            (ISA + "avx2.cpp.o", "AVX", 0),
            (ISA + "avx2.cpp.o", "AVX512", 1),
            (ISA + "avx512.cpp.o", "AVX AVX512", 0),
            (ISA + "avx512.cpp.o", "AVX512 BF16", 1),
            (ISA + "avx512_bf16.cpp.o", "AVX512 BF16", 0),
            (ISA + "avx512_bf16.cpp.o", "AVX512 AMX", 1),
            (ISA + "amx_bf16.cpp.o", "AVX512 BF16 AMX", 0),
        ):
            wide = [Wide(kind, "some") for kind in kinds.split()]
            self.assertEqual(len(check_isa.instruction_complaints(path, wide)), bad, path)

    def test_tables_are_the_only_symbols(self) -> None:
        good = "kAvx2 D 0 1\n_ZL3put t 0 1\n"
        for path, symbols, bad in (
            (ISA + "avx2.cpp.o", good, 0),
            (ISA + "avx2.cpp.o", good + "kNumbers R 0 1\n", 0),
            (ISA + "avx2.cpp.o", good + "_Z4leakv W 0 1\n", 1),
            (ISA + "avx2.cpp.o", good + "kValue u 0 1\n", 1),
            (ISA + "avx2.cpp.o", good + "leak T 0 1\n", 1),
            (ISA + "avx2.cpp.o", good + "kLate B 0 1\n", 1),
            (ISA + "avx2.cpp.o", "_ZL3put t 0 1\n", 1),
            ("src/a.cpp.o", "_Z4leakv W 0 1\n", 0),
        ):
            self.assertEqual(len(check_isa.symbol_complaints(path, symbols)), bad, symbols)


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
