"""check_layers.py must refuse each wrong way of including, and nothing else."""

import tempfile
import unittest
from pathlib import Path

import check_layers


class RightIncludes(unittest.TestCase):
    """What the design allows."""

    def test_nothing_is_refused(self) -> None:
        """Each layer may include those before it, and itself."""
        for path, target in [
            ("src/core/mask.h", '"core/base.h"'),
            ("src/parallel/pool.cpp", "<thread>"),
            ("src/problem/problem.h", '"core/mask.h"'),
            ("src/problem/problem.h", '"tilewise/tilewise.h"'),
            ("src/plan/explain.cpp", '"problem/problem.h"'),
            ("src/backends/plain/forward.cpp", '"plan/backend.h"'),
            ("src/backends/plain/forward.cpp", '"backends/plain/rows.h"'),
            ("src/backends/cpu/lanes.h", '"host/head.h"'),
            ("src/backends/cuda/backend.cpp", '"problem/problem.h"'),
            ("src/api/forward.cpp", '"backends/plain/backend.h"'),
            ("include/tilewise/tilewise.h", "<stdint.h>"),
            ("include/tilewise/tilewise.hpp", "<span>"),
            ("cli/main.cpp", '"oracle/attention.h"'),
            ("cli/main.cpp", "<fmt/format.h>"),
            ("cli/main.cpp", '"cli/core/call.h"'),
            ("cli/core/call.h", '"cli/core/cases.h"'),
            ("cli/bench.cpp", '"bench/measure.h"'),
            ("bench/measure.h", '"cli/core/device.h"'),
            ("tests/oracle/forward.cpp", '"oracle/attention.h"'),
            ("tests/core/mask_test.cpp", '"core/mask.h"'),
        ]:
            with self.subTest(path=path, target=target):
                self.assertEqual(check_layers.check_file(path, f"#include {target}\n"), [])

    def test_comments_and_raw_strings_include_nothing(self) -> None:
        """Text that no compiler takes for an include is none."""
        for text in [
            '// #include "api/call.h"\n',
            '/*\n#include "api/call.h"\n*/\n',
            'auto text = R"(\n#include "api/call.h"\n)";\n',
        ]:
            with self.subTest(text=text):
                self.assertEqual(check_layers.check_file("src/core/mask.h", text), [])


class WrongIncludes(unittest.TestCase):
    """What must be refused. None of these files exists."""

    def refuse(self, path: str, text: str) -> None:
        """Fails unless `text` in `path` gets exactly one complaint."""
        with self.subTest(path=path, text=text):
            self.assertEqual(len(check_layers.check_file(path, text)), 1)

    def test_direction(self) -> None:
        """Upwards, sideways, and into what one must not see."""
        for path, target in [
            ("src/core/mask.h", '"problem/problem.h"'),
            ("src/core/mask.h", '"tilewise/tilewise.h"'),
            ("src/core/mask.h", '"parallel/pool.h"'),
            ("src/core/mask.h", "<cmath>"),
            ("src/parallel/pool.h", '"core/base.h"'),
            ("src/problem/problem.h", '"plan/plan.h"'),
            ("src/plan/plan.cpp", '"backends/plain/backend.h"'),
            ("src/plan/plan.cpp", '"api/call.h"'),
            ("src/backends/cpu/forward.h", '"backends/plain/rows.h"'),
            ("src/backends/cpu/forward.h", '"backends/shared.h"'),
            ("src/backends/cuda/backend.cpp", '"host/head.h"'),
            ("src/backends/cuda/backend.cpp", '"problem/place.h"'),
            ("src/problem/problem.h", '"host/head.h"'),
            ("src/backends/cpu/forward.h", '"api/call.h"'),
            ("include/tilewise/tilewise.h", "<vector>"),
            ("include/tilewise/tilewise.hpp", '"core/base.h"'),
            ("cli/main.cpp", '"core/mask.h"'),
            ("cli/main.cpp", '"src/core/mask.h"'),
            ("cli/check.cpp", '"bench/measure.h"'),
            ("cli/demo.cpp", '"bench/peak.h"'),
            ("cli/core/workload.h", '"bench/team.h"'),
            ("cli/core/device.h", '"cli/options.h"'),
            ("cli/core/call.h", '"conformance/call.h"'),
            ("bench/measure.h", '"cli/options.h"'),
            ("bench/measure.h", '"conformance/call.h"'),
            ("cli/main.cpp", '"tests/oracle/attention.h"'),
            ("tests/oracle/forward.cpp", '"core/mask.h"'),
            ("tests/oracle/forward.cpp", '"tilewise/tilewise.h"'),
            ("tests/conformance/forward_test.cpp", '"problem/problem.h"'),
        ]:
            self.refuse(path, f"#include {target}\n")

    def test_disguises(self) -> None:
        """The same include written so that a careless reader misses it."""
        for line in [
            '#include "../plan/plan.h"',
            '#include "./mask.h"',
            '#include "core/../plan/plan.h"',
            '#include "plan.h"',
            "#include <plan/plan.h>",
            '  #  include   "plan/plan.h"',
            '#include/**/"plan/plan.h"',
            '/**/ #include "plan/plan.h"',
            '#include \\\n  "plan/plan.h"',
            '%:include "plan/plan.h"',
            '#include_next "plan/plan.h"',
            "#include PLAN_HEADER",
            'auto mark = "/*";\n#include "plan/plan.h"\nauto end = "*/";',
            "int separated = 1'000'000;\n#include \"plan/plan.h\"",
        ]:
            self.refuse("src/core/mask.h", line + "\n")

    def test_a_folder_that_is_no_layer(self) -> None:
        """A new folder of src needs a rule before it holds a file."""
        self.refuse("src/extras/fast.h", "")

    def test_the_program_fails(self) -> None:
        """A tree with one wrong include makes the exit status 1."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "src/core/mask.h"
            path.parent.mkdir(parents=True)
            path.write_text('#include "core/base.h"\n')
            self.assertEqual(check_layers.main([folder]), 0)
            path.write_text('#include "plan/plan.h"\n')
            self.assertEqual(check_layers.main([folder]), 1)


if __name__ == "__main__":
    unittest.main()
