"""Counts the members of C++ structs. A nested struct is one of them, and so is a base."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LITERAL = re.compile(r'"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])*\'')
_POINTER_TO_FUNCTION = re.compile(r"\(\s*\*\s*(\w+)\s*\)\s*\([^()]*\)")
_BESIDE = re.compile(r"\balignas\s*\([^()]*\)|\[\[.*?\]\]|^[ \t]*#.*$", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = r"(?:alignas\s*\((?:[^()]|\([^()]*\))*\)|\[\[.*?\]\])\s*"
_HEAD = re.compile(
    rf"\bstruct\s+(?:{_ATTRIBUTE})*(?P<name>\w+)(?:\s*<[^;{{]*>)?(?:\s+final)?"
    r"(?P<bases>\s*:(?!:)[^;{]*)?\s*\{"
)
_NO_MEMBER = re.compile(
    r"(?:using|typedef|friend|static|static_assert|template|enum|class|constexpr|inline)\b"
)
_NESTED = re.compile(r"(?:struct|union)\b[^{]*\{\}\s*(?P<names>.*)", re.DOTALL)
_ACCESS = re.compile(r"\s*(?:public|private|protected)\s*:(?!:)")
_ARGUMENTS = re.compile(r"<[^<>]*>")


def _statements(body: str) -> Iterator[str]:
    """The statements of a struct's body, without what is inside of brackets in them."""
    statement, depth = "", 0
    for character in body:
        if character in ")}]":
            depth -= 1
        if depth == 0 and character == ";":
            yield statement
            statement = ""
        elif depth == 0 or (depth == 1 and character in "({[" and statement[-1:] != character):
            statement += character
        if character in "({[":
            depth += 1
            if depth == 1 and statement[-1:] != character:
                statement += character
        # A function ends with its body.
        if character == "}" and depth == 0 and "(" in _without_arguments(statement):
            statement = ""


def _without_arguments(statement: str) -> str:
    previous = None
    while previous != statement:
        previous, statement = statement, _ARGUMENTS.sub("", statement)
    return statement


def _count(statement: str) -> int:
    """How many members a statement declares."""
    statement = _ACCESS.sub("", statement).strip()
    if not statement or _NO_MEMBER.match(statement) or "operator" in statement:
        return 0
    nested = _NESTED.match(statement)
    if nested:
        names = nested["names"].strip()
        return names.count(",") + 1 if names or statement.startswith("union") else 0
    if re.match(r"(?:struct|union)\s+\w+\s*$", statement):
        return 0
    declared = _without_arguments(statement)
    if "(" in re.split(r"[={]", declared)[0]:
        return 0  # a function
    return declared.count(",") + 1


def struct_members(code: str) -> Iterator[tuple[int, str, int]]:
    """(line number, name, how many members) of each struct in comment-free C++ text."""
    code = _LITERAL.sub(lambda found: '"' + " " * (len(found[0]) - 2) + '"', code)
    for head in _HEAD.finditer(code):
        depth, position = 1, head.end()
        while position < len(code) and depth > 0:
            depth += {"{": 1, "}": -1}.get(code[position], 0)
            position += 1
        body = _BESIDE.sub("", code[head.end() : position - 1])
        body = _POINTER_TO_FUNCTION.sub(r" \1 ", body)
        line = code.count("\n", 0, head.start()) + 1
        bases = _without_arguments(head["bases"]).count(",") + 1 if head["bases"] else 0
        yield line, head["name"], bases + sum(_count(each) for each in _statements(body))
