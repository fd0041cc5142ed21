"""Switches must be C++ that means the text and the mutant, each in its place."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import check_mutants
import mutant_list
from mutant_text import ChangeError, switch, write

ON = "::tilewise::mutated(7)"


# (the text, what it becomes, what is written)
EXPRESSIONS = [
    ("int end = keys;", "int end = keys - 1;", f"int end = ({ON} ? (keys - 1) : (keys));"),
    ("return a + b;", "return a - b;", f"return ({ON} ? (a - b) : (a + b));"),
    ("f(a, g(b), c);", "f(a, g(0), c);", f"f(a, g(({ON} ? (0) : (b))), c);"),
    ("f(a, b);", "f(b, a);", f"({ON} ? (f(b, a)) : (f(a, b)));"),
    ("x = p<3>(a);", "x = p<4>(a);", f"x = ({ON} ? (p<4>(a)) : (p<3>(a)));"),
    ("x = p<T, 3>(a);", "x = p<T, 4>(a);", f"x = ({ON} ? (p<T, 4>(a)) : (p<T, 3>(a)));"),
    ("x = n{1} * a;", "x = n{1} * b;", f"x = ({ON} ? (n{{1}} * b) : (n{{1}} * a));"),
    ("x *= a;", "x *= b;", f"x *= ({ON} ? (b) : (a));"),
    ("if (v) {", "if (false) {", f"if (({ON} ? bool(false) : bool(v))) {{"),
]
STATEMENTS = [
    ("a(); b();", "a();", f"a(); if ({ON}) {{  }} else {{ b(); }}"),
    ("{ a(); b(); }", "{ b(); }", f"{{ if ({ON}) {{  }} else {{ a(); }} b(); }}"),
    ("x = 1;", "if (c) x = 1;", f"if ({ON}) {{ if (c) x = 1; }} else {{ x = 1; }}"),
    ("int x = 1; y();", "int x = 1; z(); y();", f"int x = 1; if ({ON}) {{ z(); }}y();"),
]
# (where, the text, what it becomes, why it cannot be)
IMPOSSIBLE = [
    ("a(); a();", "a();", "b();", "2 times"),
    ("ab();", "b();", "c();", "0 times"),
    ("a();", "a();", "a( );", "the same"),
    ("int f(int a) {", "int f(int a) {", "int f(int a, int b) {", "neither"),
    ("if (x) a();", "a();", "b(); a();", "behind a statement"),
]


class Switches(unittest.TestCase):
    """What is switched of a change."""

    def test_one(self) -> None:
        """The smallest part that differs; white space does not count, so lines may break anew."""
        broken = ("f(a,\n  b);", "f( a, b );", "f(a, 0);", f"f(a,\n  ({ON} ? (0) : (b)));")
        same = [(text, *change) for change in EXPRESSIONS + STATEMENTS for text in change[:1]]
        for within, text, becomes, expected in [*same, broken]:
            with self.subTest(text=text):
                self.assertEqual(write(within, [switch(within, text, becomes, 7)]), expected)

    def test_several_in_one_place(self) -> None:
        """Changes of the same text, of one inside another, and of two that overlap: refused."""
        text = "return f(a, b);"
        places = [("f(a, b)", "a"), ("f(a, b)", "b"), ("a, b", "c, b")]
        made = [switch(text, old, new, n) for n, (old, new) in enumerate(places, start=1)]
        inner = "f((::tilewise::mutated(3) ? (c) : (a)), b)"
        outer = "(::tilewise::mutated(1) ? (a) : ::tilewise::mutated(2) ? (b) : "
        self.assertEqual(write(text, made), f"return {outer}({inner}));")
        text = "a(); b(); c();"
        overlap = [switch(text, "a(); b();", "", 1), switch(text, "b(); c();", "", 2)]
        with self.assertRaisesRegex(ChangeError, "overlap"):
            write(text, overlap)

    def test_what_cannot_be(self) -> None:
        for within, text, becomes, reason in IMPOSSIBLE:
            with self.subTest(text=text), self.assertRaisesRegex(ChangeError, reason):
                switch(within, text, becomes, 7)


LIST = """
[less]
wrong = "It is less."
file = "src/core/mask.h"
text = "return a;"
becomes = "return a - 1;"
caught_by = ["Merge.Fits", "Band.Fits"]
"""


class Lists(unittest.TestCase):
    """A tree with one mutant: reading the list, writing the copy and checking both."""

    def setUp(self) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for file, text in {
            "src/core/mask.h": "int f() { return a; }\n",
            "src/core/base.h": "int a;\n",
            "tests/core/mask_test.cpp": "TEST(Band, Fits) {}\n",
            "tests/conformance/merge_test.cpp": "TEST(Merge, Fits) {}\nTEST(List, IsLong) {}\n",
            "tests/mutants/core.toml": LIST,
            "tests/mutants/mutated.h": "bool mutated(int);\n",
        }.items():
            (self.root / file).parent.mkdir(parents=True, exist_ok=True)
            (self.root / file).write_text(text)

    def test_the_copy(self) -> None:
        """The copy has the switch, all else as it was, and no file that has no original."""
        copy = self.root / "build/source"
        mutants = mutant_list.read_list(self.root)
        for _ in range(2):
            mutant_list.write_copy(self.root, copy, mutants)
            switched = "int f() { return (::tilewise::mutated(1) ? (a - 1) : (a)); }\n"
            text = (copy / "src/core/mask.h").read_text()
            self.assertEqual(text, '#include "core/mutated.h"\n' + switched)
            self.assertEqual((copy / "src/core/base.h").read_text(), "int a;\n")
            self.assertTrue((copy / "src/core/mutated.h").exists())
            (copy / "src/core/left.h").write_text("")
        mutant_list.write_copy(self.root, copy, mutants)
        self.assertFalse((copy / "src/core/left.h").exists())

    def test_backends(self) -> None:
        """A mutant runs on the backend whose file it changes; one in shared files runs on plain."""
        mutant = mutant_list.read_list(self.root)[0]
        for file, backend in [
            ("src/backends/cpu/forward.cpp", "cpu"),
            ("src/backends/cuda/kernels/sm80/merge.h", "cuda"),
            ("src/backends/plain/forward.cpp", "plain"),
            ("src/core/mask.h", "plain"),
        ]:
            self.assertEqual(mutant._replace(file=file).backend, backend)

    def test_suites_of_the_gpu_that_compare_results(self) -> None:
        found = {check.split(".")[0] for check in check_mutants.check_named(check_mutants.ROOT)}
        self.assertEqual(check_mutants.suites_of_results(self.root, "cuda") - found, set())

    def test_the_check(self) -> None:
        """Names what in a list no longer fits the sources and tests."""
        for old, new, complaint in [
            ("return a;", "return b;", "stands 0 times"),
            ("mask.h", "mark.h", "there is no src/core/mark.h"),
            ("Band.Fits", "Band.Fitted", "there is no check `Band.Fitted`"),
            (', "Band.Fits"', "", "names 1 checks"),
            ("wrong", "harmless", "nothing may notice"),
            ("Merge.Fits", "core's mask", "names no check that compares results"),
            ("Merge.Fits", "List.IsLong", "names no check that compares results"),
            ("less.", "less", "is no sentence"),
            ("wrong", "bad", "has no such key: bad"),
            (LIST, "", "holds no mutants"),
            ("", "", ""),
        ]:
            with self.subTest(complaint=complaint):
                (self.root / "tests/mutants/core.toml").write_text(LIST.replace(old, new, 1))
                said = io.StringIO()
                with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                    self.assertEqual(check_mutants.main([str(self.root)]), bool(complaint))
                self.assertIn(complaint, said.getvalue())
