"""check_layers.py must refuse each wrong way of including, and nothing else."""

import tempfile
import unittest
from pathlib import Path

import check_layers

# What a file may include, and what not. None of these files exists.
INCLUDES = {
    "src/core/mask.h": ('"core/base.h"', '"problem/problem.h" "tilewise/tilewise.h" <cmath>'),
    "src/parallel/pool.cpp": ("<thread>", '"core/base.h"'),
    "src/problem/problem.h": ('"tilewise/tilewise.h"', '"plan/plan.h" "host/head.h"'),
    "src/plan/explain.cpp": ('"host/head.h"', '"backends/plain/backend.h"'),
    "src/backends/plain/forward.cpp": ('"plan/backend.h" "backends/plain/rows.h"', '"api/call.h"'),
    "src/backends/cpu/a.h": ('"host/head.h"', '"backends/plain/rows.h" "backends/shared.h"'),
    "src/backends/cuda/a.cpp": ('"problem/problem.h"', '"host/head.h" "problem/place.h"'),
    "src/api/forward.cpp": ('"backends/plain/backend.h"', '"cli/core/call.h"'),
    "include/tilewise/tilewise.h": ("<stdint.h>", "<vector>"),
    "include/tilewise/tilewise.hpp": ("<span>", '"core/base.h"'),
    "cli/check.cpp": ('"oracle/attention.h" "cli/core/a.h"', '"src/core/a.h" "bench/measure.h"'),
    "cli/bench.cpp": ('"bench/measure.h"', '"core/mask.h"'),
    "cli/core/call.h": ('"cli/core/device.h"', '"cli/options.h" "conformance/call.h"'),
    "bench/measure.h": ('"cli/core/device.h"', '"cli/options.h"'),
    "tests/oracle/forward.cpp": ('"oracle/attention.h"', '"core/mask.h" "tilewise/tilewise.h"'),
    "tests/conformance/a_test.cpp": ('"oracle/attention.h"', '"problem/problem.h"'),
    "tests/core/mask_test.cpp": ('"core/mask.h"', ""),
}
# Includes that src/core/mask.h may not have, written so that a simple pattern misses them.
DISGUISES = [
    '#include "../plan/plan.h"',
    '#include "./mask.h"',
    '#include "plan.h"',
    "#include <plan/plan.h>",
    '  #  include   "plan/plan.h"',
    '/**/ #include/**/"plan/plan.h"',
    '#include \\\n  "plan/plan.h"',
    '%:include "plan/plan.h"',
    '#include_next "plan/plan.h"',
    "#include PLAN_HEADER",
    'auto mark = "/*";\n#include "plan/plan.h"\nauto end = "*/";',
    "int separated = 1'000'000;\n#include \"plan/plan.h\"",
]
NO_INCLUDES = [
    '// #include "api/call.h"',
    '/*\n#include "api/call.h"\n*/',
    'auto text = R"(\n#include "api/call.h"\n)";',
]


class Includes(unittest.TestCase):
    """What is refused."""

    def test_each(self) -> None:
        mask = "src/core/mask.h"
        files = [(mask, text, True) for text in DISGUISES]
        files += [(mask, text, False) for text in NO_INCLUDES]
        files += [("src/extras/fast.h", "", True)]  # a folder that is no layer
        for path, targets in INCLUDES.items():
            for is_bad, words in zip((False, True), targets, strict=True):
                files += [(path, f"#include {target}", is_bad) for target in words.split()]
        for path, text, is_bad in files:
            with self.subTest(path=path, text=text):
                self.assertEqual(len(check_layers.check_file(path, text + "\n")), is_bad)

    def test_the_program_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "src/core/mask.h"
            path.parent.mkdir(parents=True)
            for target, status in (("core/base.h", 0), ("plan/plan.h", 1)):
                path.write_text(f'#include "{target}"\n')
                self.assertEqual(check_layers.main([folder]), status)
