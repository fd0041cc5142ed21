"""check_shape.py must find each fault that it is for, and take prose for prose."""

import tempfile
import unittest
from pathlib import Path

import check_shape
from struct_members import struct_members


def complaints(name: str, text: str) -> list[str]:
    """What check_shape says about a file of that name and text."""
    return list(check_shape.check_text(Path(name), text))


class Faults(unittest.TestCase):
    """One file for each fault."""

    def test_each_fault_is_found(self) -> None:
        """Sizes, leftovers, dead code."""
        for name, text in {
            "long.cpp": "int x;\n" * (check_shape.MAX_LINES + 1),
            "wide.cpp": "//" + " wide" * 20 + "\n",
            "later.cpp": "// TO" + "DO: make it fast\n",
            "later.py": "# FIX" + "ME\n",
            "dead.cpp": "#if " + "0\nint x;\n#endif\n",
            "reserved.h": "int row__of; // as a__b is\n",
            "many.h": "template <class A, int B, class C, bool D, class... E>\nstruct Many {};\n",
            "nested.h": "template <class A, class B = P<A, int>, class C, class D, int E>\n",
        }.items():
            with self.subTest(name=name):
                self.assertEqual(len(complaints(name, text)), 1)

    def test_commented_out_code(self) -> None:
        """Statements, directives, braces."""
        for line in [
            "// row.sum *= factor;",
            "// total = a + b;",
            "// raise(row, max);",
            "// std::printf(text, value);",
            "// if (row.empty()) {",
            "// for (int i = 0; i < n; ++i)",
            "// return row;",
            "// }",
            "// #include <vector>",
            "// const int rows = 4;",
            "/* visit(row);\n   leave(row); */",
        ]:
            with self.subTest(line=line):
                self.assertTrue(complaints("code.cpp", line + "\n"))
        for line in ["# total = a + b", "# print(total)", "# import numpy", "# return row"]:
            with self.subTest(line=line):
                self.assertTrue(complaints("code.py", line + "\n"))

    def test_prose_is_left_alone(self) -> None:
        """Comments that explain, also where they speak in formulas."""
        for line in [
            "// Keys are walked from the diagonal outwards;",
            "// s = scale * q.k, then the softcap.",
            "// merge(a, b) joins two rows; the identity is {-inf, 0}.",
            "// Return what is left; nothing may be (an empty row is fine).",
            "// for each key tile: score, mask, raise",
            "// { max, sum } of one row",
            "//     forward({.query = query});",
            "/* 232448 bytes: the most one block may ask for. */",
            'const char* text = "// return row;";',
        ]:
            with self.subTest(line=line):
                self.assertEqual(complaints("prose.cpp", line + "\n"), [])
        for line in ["# rows", "# type: ignore", "# one row, then the next", "# x: the row"]:
            with self.subTest(line=line):
                self.assertEqual(complaints("prose.py", line + "\n"), [])

    def test_four_template_parameters_are_fine(self) -> None:
        """Nested brackets and arrows are no separators."""
        text = "template <class A, class B, F<A, B> C, decltype(a->b(1, 2)) D>\nstruct Four;\n"
        self.assertEqual(complaints("four.h", text), [])
        self.assertEqual(complaints("none.h", "template <>\nstruct Four<int>;\n"), [])


class Structs(unittest.TestCase):
    """How many members a struct has."""

    def members(self, text: str) -> list[tuple[str, int]]:
        """The structs of a text, by name."""
        return [(name, count) for _, name, count in struct_members(text)]

    def test_objects_count(self) -> None:
        """One by one, with what they begin as; pointers to functions, arrays, and bit fields."""
        text = """
        template <class T>
        struct Row final : Base<T, int>, Other {
          Row() = default;
          explicit Row(int a) : x(a), y{a, 2} { z = f(1); }
          T x = 1, y{2, 3};
          std::map<int, T> *z = nullptr, w;
          bool (*score)(const Args&, int) = nullptr;
          alignas(64) int list[2] = {1, 2};
          unsigned bit : 1;
        };"""
        self.assertEqual(self.members(text), [("Row", 2 + 7)])

    def test_functions_types_and_constants_do_not(self) -> None:
        """Nor what belongs to the type and not to each object."""
        text = """
        struct Row {
          using V = int;
          enum class Kind { kA, kB };
          static constexpr int kOne = 1, kTwo = 2;
          struct Part { int a, b; };
          template <class F> void walk(F body) const { body(1); }
          [[nodiscard]] int at(int i) const { return list[i]; }
          friend bool operator<(const Row&, const Row&) = default;
          Row& operator=(const Row&) = delete;
        private:
          struct { int x, y; } place;
          int* list;
        };"""
        self.assertEqual(self.members(text), [("Row", 2), ("Part", 2)])

    def test_attributes_of_a_struct(self) -> None:
        """Stand before its name."""
        for head in (
            "alignas(16)",
            "alignas(sizeof(int) * 4)",
            "[[nodiscard]]",
            '[[deprecated("a[0]")]]',
            "[[nodiscard]] alignas(kBytes) ",
        ):
            with self.subTest(head=head):
                self.assertEqual(self.members(f"struct {head} Row {{ int a, b; }};"), [("Row", 2)])

    def test_too_many_are_refused(self) -> None:
        """Below src/ alone, and where no exception says why."""
        text = "struct Many { int " + ", ".join(f"m{n}" for n in range(13)) + "; };\n"
        for name, wanted in (("src/core/many.h", 1), ("tests/core/many.h", 0)):
            with self.subTest(name=name):
                found = list(check_shape.check_structs(Path(name), text, set()))
                self.assertEqual(len(found), wanted)


class Names(unittest.TestCase):
    """Names that say nothing."""

    def test_folders_and_files(self) -> None:
        """Both are refused."""
        self.assertTrue(list(check_shape.check_name(Path("src/utils/row.h"))))
        self.assertTrue(list(check_shape.check_name(Path("src/core/common.h"))))
        self.assertFalse(list(check_shape.check_name(Path("src/core/row.h"))))

    def test_names_of_others(self) -> None:
        """Where modules are named as another package's, its names stay."""
        face = Path("python/tilewise/flash_attn/utils/generation.py")
        self.assertFalse(list(check_shape.check_name(face)))
        self.assertTrue(list(check_shape.check_name(Path("python/tilewise/utils/row.py"))))

    def test_the_program_fails(self) -> None:
        """A tree with one fault makes the exit status 1; build/ is not looked at."""
        with tempfile.TemporaryDirectory() as folder:
            for place in ["src/core", "build"]:
                (Path(folder) / place).mkdir(parents=True)
            (Path(folder) / "build/misc.cpp").write_text("// return row;\n")
            self.assertEqual(check_shape.main([folder]), 0)
            (Path(folder) / "src/core/row.h").write_text("// return row;\n")
            self.assertEqual(check_shape.main([folder]), 1)


if __name__ == "__main__":
    unittest.main()
