"""A forced test is skipped where its program ends with 77, whatever any other one prints."""

import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from sum_results import count_file

ROOT = Path(__file__).resolve().parents[2]
# All of a project but its tests.
PROJECT = "cmake_minimum_required(VERSION 3.22)\nproject(forced NONE)\nenable_testing()\n"
# Stands for test_conformance: it says what a machine lacks, and ends as it is told.
PROGRAM = """#!/bin/sh
echo "TILEWISE_CPU_ISA is 'wide', which this machine lacks: use another one."
exit "$ENDS"
"""


class ForcedTests(unittest.TestCase):
    """The function of tests/CMakeLists.txt, in a project of its own."""

    def test_only_an_exit_status_skips(self) -> None:
        """A failure that prints the same sentence stays one."""
        text = (ROOT / "tests/CMakeLists.txt").read_text()
        function = re.search(r"(?ms)^function\(tilewise_forced_test .*?^endfunction\(\)$", text)
        assert function
        endings = {"good": 0, "bad": 1, "lacking": 77}
        calls = [f"tilewise_forced_test({name} ENDS={end})" for name, end in endings.items()]
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "CMakeLists.txt").write_text("\n".join([PROJECT, function.group(), *calls, ""]))
        subprocess.run(["cmake", "-G", "Ninja", "."], cwd=folder, check=True, capture_output=True)
        program, report = folder / "test_conformance", folder / "ctest.xml"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        run = ["ctest", "--output-junit", "ctest.xml"]
        subprocess.run(run, cwd=folder, check=False, capture_output=True)
        self.assertEqual(count_file(report), (1, 1, 1))
        skipped = ElementTree.parse(report).getroot().iterfind(".//testcase[skipped]")
        self.assertEqual([case.get("name") for case in skipped], ["lacking"])
