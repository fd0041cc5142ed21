"""Tests of peer_suites.py: what it copies, and how it counts."""

from __future__ import annotations

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import peer_suites


class Copies(unittest.TestCase):
    """The files of a suite, as the process that runs it finds them."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.suite = peer_suites.Suite("flash_attention", ("tests/a/test_x.py",), ("b/padding.py",))
        for path in (*self.suite.tests, *self.suite.beside):
            (self.folder / path).parent.mkdir(parents=True)
            (self.folder / path).write_text("device = \"cuda\"\nx.cuda()\ntorch.cuda.f('cuda')\n")

    def test_names_differ_and_devices_are_the_processors(self) -> None:
        tests = peer_suites.prepare(self.suite, self.folder, self.folder / "work", "cpu")
        self.assertEqual(tests, ["tests_a_test_x.py"])
        wanted = "device = \"cpu\"\nx.cpu()\ntorch.cuda.f('cpu')\n"
        for name in ("tests_a_test_x.py", "padding.py"):
            self.assertEqual((self.folder / "work" / name).read_text(), wanted)

    def test_a_gpu_gets_them_as_they_are(self) -> None:
        peer_suites.prepare(self.suite, self.folder, self.folder / "work", "cuda")
        copy = (self.folder / "work" / "padding.py").read_text()
        self.assertEqual(copy, (self.folder / "b/padding.py").read_text())

    def test_torchs_tests_come_back_from_torch_npu(self) -> None:
        given = (
            "import torch\nimport torch_npu.testing\nfrom x import onlyPRIVATEUSE1, skip\n"
            "isSM90Device = torch.npu.is_available()\nfor npu_inputs in x.npu(): inputs\n"
            '    @unittest.skip("Does not support now")\n    @unittest.skip("4D mask")\n'
            "torch_npu.npu.set_device('npu:1')\ndir(TestBPRIVATEUSE1)\n_get_privateuse1_name()\n"
            'make(TestANpuOnly, globals(), only_for="privateuse1")\n'
            "make(TestB, globals(), only_for='privateuse1')\n"
        )
        wanted = (
            "import torch\nfrom x import onlyCUDA, skip\n"
            "isSM90Device = False\nfor cuda_inputs in x.cuda(): inputs\n"
            '    @unittest.skip("4D mask")\n'
            "torch.cuda.set_device('cuda:1')\ndir(TestBCPU)\n_get_privateuse1_name()\n"
            "make(TestANpuOnly, globals(), only_for='cuda')\n"
            "make(TestB, globals(), only_for=('cpu', 'cuda'))\n"
        )
        (self.folder / "tests/a/test_x.py").write_text(given)
        suite = self.suite._replace(checkout="pytorch")
        peer_suites.prepare(suite, self.folder, self.folder / "work", "cpu")
        copy = (self.folder / "work" / "tests_a_test_x.py").read_text()
        self.assertEqual(copy, wanted)

    def test_what_a_checkout_lacks_is_said(self) -> None:
        (self.folder / "tests/a/test_x.py").unlink()
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            tests = peer_suites.prepare(self.suite, self.folder, self.folder / "work", "cpu")
        self.assertEqual(tests, [])
        self.assertIn("has no tests/a/test_x.py", said.getvalue())


class Counts(unittest.TestCase):
    """The table of a suite."""

    def test_dropout_is_outside_where_torchs_mask_is_compared(self) -> None:
        name = "test_flash_attention_vs_math_ref_grads_batch_size_1_dropout_p_0_22_seq_len_q_4"
        said = "E Tensor-likes are not close! E Greatest absolute difference: {} at index"
        wanted = "other weights are dropped"
        self.assertEqual(peer_suites.why_outside(name, said.format("0.5")), wanted)
        self.assertIsNone(peer_suites.why_outside(name, said.format("nan")))
        self.assertIsNone(peer_suites.why_outside("test_other_dropout_p_0_2", said.format("0.5")))

    def test_a_process_that_dies_is_a_failure(self) -> None:
        self.assertIn("signal 11", peer_suites.why_it_died(-11))
        self.assertIn("does not end", peer_suites.why_it_died("a case that does not end"))
        self.assertEqual([peer_suites.why_it_died(status) for status in (0, 1, 2)], [""] * 3)

    def test_sums_and_failures(self) -> None:
        found = {
            "rows": {"b test_two": {"failed": 1, "outside": 2}, "a test_one": {"passed": 3}},
            "failures": {"b::test_two[1]": "E   assert 1 == 2"},
            "notes": ["5 cases were drawn."],
        }
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            failed = peer_suites.show("name", found, Path("folder"))
        self.assertEqual(failed, 1)
        lines = said.getvalue().splitlines()
        self.assertLess(lines.index("| a test_one | 3 | 0 | 0 | 0 |"), len(lines) - 1)
        self.assertIn("| b test_two | 0 | 0 | 2 | 1 |", lines)
        self.assertIn("| all | 3 | 0 | 2 | 1 |", lines)
        self.assertIn("FAILED b::test_two[1]", lines)


if __name__ == "__main__":
    unittest.main()
