"""check_shape.py must find each fault that it is for, and take prose for prose."""

import tempfile
import unittest
from pathlib import Path

import check_shape
from struct_members import struct_members

FAULTS = {
    "long.cpp": "int x;\n" * (check_shape.MAX_LINES + 1),
    "wide.cpp": "//" + " wide" * 20 + "\n",
    "later.cpp": "// TO" + "DO: make it fast\n",
    "later.py": "# FIX" + "ME\n",
    "dead.cpp": "#if " + "0\nint x;\n#endif\n",
    "reserved.h": "int row__of; // as a__b is\n",
    "many.h": "template <class A, int B, class C, bool D, class... E>\nstruct Many {};\n",
    "arrow.h": "template <class A, class B, F<A, B> C, decltype(a->b) D, class E>\n",
    "nested.h": "template <class A, class B = P<A, int>, class C, class D, int E>\n",
}
# Nested brackets and arrows part no template parameters.
GOOD = {
    "four.h": "template <class A, class B, F<A, B> C, decltype(a->b(1, 2)) D>\nstruct Four;\n",
    "none.h": "template <>\nstruct Four<int>;\n",
}
CODE = [
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
]
PROSE = [
    "// Keys are walked from the diagonal outwards;",
    "// s = scale * q.k, then the softcap.",
    "// merge(a, b) joins two rows; the identity is {-inf, 0}.",
    "// Return what is left; nothing may be (an empty row is fine).",
    "// for each key tile: score, mask, raise",
    "// { max, sum } of one row",
    "//     forward({.query = query});",
    "/* 232448 bytes: the most one block may ask for. */",
    'const char* text = "// return row;";',
]
PYTHON_CODE = ["# total = a + b", "# print(total)", "# import numpy", "# return row"]
PYTHON_PROSE = ["# rows", "# type: ignore", "# one row, then the next", "# x: the row"]
STRUCTS = {
    # Objects count, whatever they begin as; a base does; functions do not.
    """template <class T>
    struct Row final : Base<T, int>, Other {
      Row() = default;
      explicit Row(int a) : x(a), y{a, 2} { z = f(1); }
      T x = 1, y{2, 3};
      std::map<int, T> *z = nullptr, w;
      bool (*score)(const Args&, int) = nullptr;
      alignas(64) int list[2] = {1, 2};
      unsigned bit : 1;
    };""": [("Row", 2 + 7)],
    # What belongs to the type, and not to each object, does not.
    """struct Row {
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
    };""": [("Row", 2), ("Part", 2)],
    "typedef struct tw_row {\n  size_t size;\n  tw_tensor a, b;\n} tw_row;": [("tw_row", 3)],
    "struct alignas(sizeof(int) * 4) Row { int a, b; };": [("Row", 2)],
    '[[nodiscard]] struct [[deprecated("a[0]")]] alignas(kBytes) Row { int a; };': [("Row", 1)],
}
MANY = "struct Many { int " + ", ".join(f"m{n}" for n in range(13)) + "; };\n"


class Shape(unittest.TestCase):
    """What check_shape.py finds in texts, in names, and in a tree."""

    def test_texts(self) -> None:
        for bad, files in (
            (1, FAULTS.items()),
            (0, GOOD.items()),
            (1, [("code.cpp", line + "\n") for line in CODE]),
            (2, [("code.cpp", "/* visit(row);\n   leave(row); */\n")]),
            (0, [("prose.cpp", line + "\n") for line in PROSE]),
            (1, [("code.py", line + "\n") for line in PYTHON_CODE]),
            (0, [("prose.py", line + "\n") for line in PYTHON_PROSE]),
        ):
            for name, text in files:
                with self.subTest(name=name, text=text):
                    found = list(check_shape.check_text(Path(name), text))
                    self.assertEqual(len(found), bad, found)

    def test_structs(self) -> None:
        for text, wanted in STRUCTS.items():
            with self.subTest(text=text):
                found = [(name, count) for _, name, count in struct_members(text)]
                self.assertEqual(found, wanted)
        for name, bad in (("src/core/many.h", 1), ("tests/core/many.cpp", 1), ("many.py", 0)):
            found_in = list(check_shape.check_structs(Path(name), MANY, set()))
            self.assertEqual(len(found_in), bad, name)

    def test_names_say_what_is_inside(self) -> None:
        for name, bad in (
            ("src/utils/row.h", 1),
            ("src/core/common.h", 1),
            ("src/core/row.h", 0),
            ("python/tilewise/utils/row.py", 1),
            # Modules named as another package's.
            ("python/tilewise/flash_attn/utils/generation.py", 0),
        ):
            self.assertEqual(len(list(check_shape.check_name(Path(name)))), bad, name)

    def test_the_program_fails(self) -> None:
        """main() returns 1 for a bad file, but does not look at build/."""
        with tempfile.TemporaryDirectory() as folder:
            for place, status in (("build/misc.cpp", 0), ("src/core/row.h", 1)):
                (Path(folder) / place).parent.mkdir(parents=True)
                (Path(folder) / place).write_text("// return row;\n")
                self.assertEqual(check_shape.main([folder]), status)
