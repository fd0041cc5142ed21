"""`tilewise kernels`: the GPU's kernels, listed, built and cleared on machines without a GPU."""

from __future__ import annotations

import json
import subprocess
import unittest

from program import ProgramTest, played_gpu, start

FEW = ("tilewise_plain_merge", "--arch", "sm_90", "--driver", "12.8")


class KernelsTest(ProgramTest):
    """Each test has a cache of its own, and no NVRTC unless it names one."""

    def setUp(self) -> None:
        super().setUp()
        self.cache = self.folder / "cache"
        self.nowhere = {
            "TILEWISE_CACHE": str(self.cache),
            "TILEWISE_NVRTC": "/nowhere/libnvrtc.so.12",
        }

    def kernels(self, *words: object, **changes: str) -> subprocess.CompletedProcess[str]:
        return start("kernels", *words, **{**self.nowhere, **changes})

    def test_list(self) -> None:
        text = self.good("kernels", "list", *FEW, **self.nowhere)
        self.assertIn("NVRTC   none. TILEWISE_NVRTC names /nowhere/libnvrtc.so.12", text)
        self.assertIn(f"cache   {self.cache}", text)
        self.assertRegex(text, r"(?m)^tilewise_plain_merge +sm_90 +(not yet|pack)")
        listed = json.loads(self.good("kernels", "list", "--json", **self.nowhere))
        names = {row["variant"] for row in listed["kernels"]}
        self.assertGreaterEqual(len(names), 17)
        self.assertIsNone(listed["nvrtc"])
        self.assertEqual(listed["cache"], str(self.cache))
        self.assertEqual(
            set(listed["kernels"][0]),
            {
                "variant",
                "arch",
                "from",
                "is_ptx",
                "registers",
                "spill_bytes",
                "shared_bytes",
                "compile_seconds",
                "cubin_bytes",
            },
        )
        self.assertFalse(self.cache.exists())

    def test_names_are_patterns_and_several(self) -> None:
        words = ("list", "*rotary", "*plain_merge", "--arch", "sm_80", "--arch", "sm_120", "--json")
        rows = json.loads(self.good("kernels", *words, **self.nowhere))["kernels"]
        self.assertEqual(
            {(row["variant"], row["arch"]) for row in rows},
            {
                (f"tilewise_plain_{name}", arch)
                for name in ("rotary", "merge")
                for arch in ("sm_80", "sm_120")
            },
        )

    def test_build_says_what_is_missing(self) -> None:
        result = self.kernels("build", *FEW)
        if result.returncode != 0:  # a library that carries a pack has nothing to build
            self.assertEqual(result.returncode, 1)
            self.assertIn("tilewise: TILEWISE_NVRTC names /nowhere/libnvrtc.so.12", result.stderr)

    def test_build_fills_the_cache_and_clear_empties_it(self) -> None:
        words = (*FEW[:-2], "--driver", "99.0")
        changes = {"TILEWISE_CACHE": str(self.cache)}
        listed = json.loads(self.good("kernels", "list", *words, "--json", **changes))
        if not listed["nvrtc"]:
            self.skipTest(listed["why_no_nvrtc"])
        result = start("kernels", "build", *words, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("1 kernel is ready", result.stdout)
        self.assertRegex(result.stderr, r"\Akernels \.\.\.\nkernels: 100 % in [^\n]+\n\Z")
        row = json.loads(self.good("kernels", "list", *words, "--json", **changes))["kernels"][0]
        self.assertIn(row["from"], ("cache", "pack"))
        self.assertGreater(row["registers"], 0)
        self.assertGreater(row["compile_seconds"], 0)
        self.assertGreater(row["cubin_bytes"], 1000)
        self.assertEqual(row["spill_bytes"], 0)
        if row["from"] == "cache":
            (self.cache / "mine.cubin").write_text("the user's")
        removed = 1 if row["from"] == "cache" else 0
        text = self.good("kernels", "clear", **changes)
        self.assertIn(text.split(" removed from ")[0], ("0 files", "1 file"))
        self.assertTrue(text.endswith(f" removed from {self.cache}.\n"), text)
        self.assertEqual(text[0], str(removed))
        if row["from"] == "cache":
            self.assertEqual([entry.name for entry in self.cache.iterdir()], ["mine.cubin"])

    def test_what_is_dumped_is_not_kept(self) -> None:
        folder = self.folder / "dump"
        changes = {**played_gpu(), "TILEWISE_DUMP": str(folder), "TILEWISE_CACHE": str(self.cache)}
        text = self.good("kernels", "build", "*plain_merge", "--arch", "sm_90", **changes)
        self.assertIn(f"1 kernel is compiled, and left in {folder}. None is kept", text)
        self.assertFalse(self.cache.exists() and any(self.cache.iterdir()))
        words = ("list", "*plain_merge", "--arch", "sm_90")
        self.assertIn(f"dump    {folder}: ", self.good("kernels", *words, **changes))
        self.assertEqual(
            json.loads(self.good("kernels", *words, "--json", **changes))["dump"], str(folder)
        )

    def test_refusals(self) -> None:
        for words, status, sentence in (
            ((), 2, "action"),
            (("lst",), 2, "did you mean 'list'"),
            (("build", "--json"), 2, "kernels build takes no --json"),
            (("clear", "merge"), 2, "kernels clear takes no names"),
            (("clear", "--arch", "sm_90"), 2, "kernels clear takes no --arch"),
            (("list", "nobody"), 2, "'nobody'"),
            (("list", "--arch", "90"), 2, "'90' is no architecture"),
            (("list", "--arch", "sm_75"), 3, "sm_75 is too old"),
            (("list", "--driver", "11"), 2, "--driver"),
            (("list", "--driver", "12.96"), 2, "--driver takes a version as 12.4; 12.96 is none"),
        ):
            self.assert_refused(self.kernels(*words), status, sentence)

    def test_a_cache_that_others_may_enter_is_left_alone(self) -> None:
        self.cache.mkdir()
        self.cache.chmod(0o755)
        ours = self.cache / ("a" * 64 + "-12080-7.cubin")
        ours.write_text("kept")
        self.assert_refused(self.kernels("clear"), 1, "chmod 700")
        self.assertTrue(ours.exists())


if __name__ == "__main__":
    unittest.main()
