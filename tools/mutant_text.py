"""Writes switches into C++ text: each chooses between the original and a mutant's change.

A switch covers the smallest expression that holds the difference, or else the statements that
differ:

    const int64 end = keys;  ->  const int64 end = (::tilewise::mutated(7) ? (keys - 1) : (keys));
    row.sum *= factor;       ->  if (::tilewise::mutated(8)) {} else { row.sum *= factor; }
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_TOKEN = re.compile(
    r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'
      |\.?\d(?:[eEpP][+-]|[\w.'])*|\w+
      |<<=|->|\+\+|--|::|&&|\|\||<<|[-+*/%&|^=!<>]=|\S""",
    re.VERBOSE,
)
_OPENS = {"(": ")", "[": "]", "{": "}"}
_CLOSES = {closing: opening for opening, closing in _OPENS.items()}
_ASSIGNS = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<="}
# Tokens after which an expression may begin, and those at which it has ended.
_BEFORE = {*_OPENS, *_ASSIGNS, ",", ";", "}", "return"}
_BEHIND = {*_CLOSES, ",", ";"}


class ChangeError(Exception):
    """A change that cannot be switched while the program runs, or whose text is not found."""


class Switch(NamedTuple):
    """A part of a file, from `begin` to `end`, and what mutant `number` has in its place."""

    begin: int
    end: int
    number: int
    becomes: str
    is_statement: bool
    is_condition: bool = False


class _Token(NamedTuple):
    text: str
    begin: int
    end: int


def _tokens(text: str) -> list[_Token]:
    return [_Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(text)]


def find(text: str, within: str) -> tuple[int, int]:
    """Where `text` occurs, regardless of white space; it must occur once."""
    words = [token.text for token in _tokens(text)]
    pattern = r"\s*".join(map(re.escape, words))
    edges = [r"(?<!\w)" if words and words[0][0].isalnum() else ""]
    edges.append(r"(?!\w)" if words and words[-1][-1].isalnum() else "")
    found = [match.span() for match in re.finditer(pattern.join(edges), within)]
    if not words or len(found) != 1:
        raise ChangeError(f"`{text}` stands {len(found) if words else 0} times in it, not once")
    return found[0]


def switch(within: str, text: str, becomes: str, number: int) -> Switch:
    """The switch that replaces `text`, found in `within`, by `becomes`."""
    begin, end = find(text, within)
    old, new = _tokens(within[begin:end]), _tokens(becomes)
    words, others = [token.text for token in old], [token.text for token in new]
    if words == others:
        raise ChangeError(f"`{text}` becomes the same")
    low, high = _difference(words, others)
    beyond = len(others) - len(words)  # the index of what follows it, in `new`
    place = _expression(words, others, low, high)
    is_statement = place is None
    low, high = place or _statements(words, others, low, high)
    if low == high:
        at = begin + (old[low].begin if low < len(old) else old[-1].end)
        _check_is_between_statements(within[:at], text)
    else:
        at = begin + old[low].begin
    return Switch(
        at,
        begin + old[high - 1].end if high > low else at,
        number,
        becomes[new[low].begin : new[high + beyond - 1].end] if high + beyond > low else "",
        is_statement,
        words[max(low - 2, 0) : low] in (["if", "("], ["while", "("]),
    )


def _difference(words: Sequence[str], others: Sequence[str]) -> tuple[int, int]:
    """The range of `words` that differs from `others`, less their common beginning and end."""
    shorter = min(len(words), len(others))
    low = 0
    while low < shorter and words[low] == others[low]:
        low += 1
    last = 0
    while last < shorter - low and words[-1 - last] == others[-1 - last]:
        last += 1
    return low, len(words) - last


def _expression(
    words: Sequence[str], others: Sequence[str], low: int, high: int
) -> tuple[int, int] | None:
    """The smallest range of `words` around a difference that is an expression in both lists."""
    beyond = len(others) - len(words)
    while True:
        low, high = _widened(words, low, high)
        old, new = words[low:high], others[low : high + beyond]
        if _is_expression(old) and _is_expression(new):
            return low, high
        if _ends_arguments(old) or _ends_arguments(new):
            opening = next((n for n in range(low - 1, 0, -1) if words[n] == "<"), 0)
            if opening == 0:
                return None
            low = opening - 1
            continue
        # Widens beyond the brackets, if they are those of a call or a group.
        is_inside = low > 0 and high < len(words) and _OPENS.get(words[low - 1]) == words[high]
        if not is_inside or words[low - 1] == "{":
            return None
        low, high = low - 1, high + 1


def _widened(words: Sequence[str], low: int, high: int) -> tuple[int, int]:
    """The range, widened to both sides as far as an expression can go, with brackets in pairs."""
    depth = 0
    for n in range(low, high):
        depth += (words[n] in _OPENS) - (words[n] in _CLOSES)
        if depth < 0:
            low = _opening(words, n)
            depth = 0
    while depth > 0 and high < len(words):
        depth += (words[high] in _OPENS) - (words[high] in _CLOSES)
        high += 1
    while low > 0 and (words[low - 1] not in _BEFORE or _ends_value(words, low - 1)):
        low = _before(words, low - 1)
    while high < len(words) and words[high] not in _BEHIND:
        depth = 0
        while True:
            depth += (words[high] in _OPENS) - (words[high] in _CLOSES)
            high += 1
            if depth <= 0 or high == len(words):
                break
    return low, high


def _ends_value(words: Sequence[str], closing: int) -> bool:
    """Whether a closing brace ends a value, as in int64{1}, and not a statement."""
    opening = _opening(words, closing) if words[closing] == "}" else 0
    return opening > 0 and re.fullmatch(r"\w+|>", words[opening - 1]) is not None


def _before(words: Sequence[str], last: int) -> int:
    """`last`, or the index of the opening bracket if the token at `last` closes one."""
    if words[last] in _CLOSES:
        return _opening(words, last)
    if words[last] == ">" and words[last + 1 : last + 2] in (["("], ["{"], ["::"]):
        depth = 0
        for n in range(last, -1, -1):
            if not re.fullmatch(r"\w+|[<>,]|::", words[n]):
                break
            depth += (words[n] == ">") - (words[n] == "<")
            if depth == 0:
                return n
    return last


def _opening(words: Sequence[str], closing: int) -> int:
    """The index of the bracket that `closing` closes; 0 if there is none."""
    depth = 0
    for n in range(closing, -1, -1):
        depth += (words[n] in _CLOSES) - (words[n] in _OPENS)
        if depth == 0:
            return n
    return 0


def _is_expression(words: Sequence[str]) -> bool:
    """Whether the words have balanced brackets and no token of statements or lists."""
    if not words or _ends_arguments(words):
        return False
    if words[0] in {"return", "if", "for", "while", "continue", "break", "const", "auto"}:
        return False
    stack: list[str] = []
    angles = 0
    for n, word in enumerate(words):
        if word in _OPENS:
            stack.append(word)
        elif word in _CLOSES:
            if not stack or stack.pop() != _CLOSES[word]:
                return False
        elif word == "<" and _before_arguments(words, n):
            angles += 1
        elif word == ">" and angles > 0:
            angles -= 1
        elif not stack and (word in {";", "..."} or (word == "," and angles == 0)):
            return False
    return not stack


def _before_arguments(words: Sequence[str], opening: int) -> bool:
    """Whether the `<` at `opening` begins arguments of a template."""
    depth = 0
    for n in range(opening, len(words)):
        if not re.fullmatch(r"\w+|[<>,]|::", words[n]):
            return False
        depth += (words[n] == "<") - (words[n] == ">")
        if depth == 0:
            return words[n + 1 : n + 2] in (["("], ["{"], ["::"])
    return False


def _ends_arguments(words: Sequence[str]) -> bool:
    """Whether the words hold the end of a template's arguments, but not the beginning."""
    depth = 0
    for n, word in enumerate(words):
        depth += word == "<"
        if word == ">" and words[n + 1 : n + 2] in (["("], ["{"], ["::"]):
            if depth == 0:
                return True
            depth -= 1
    return False


def _statements(
    words: Sequence[str], others: Sequence[str], low: int, high: int
) -> tuple[int, int]:
    """The statements of `words` that differ; none if `others` only adds some."""
    beyond = len(others) - len(words)
    low, high = _out_of_brackets(words, low, high)
    depths = [0]
    for word in words:
        depths.append(depths[-1] + (word in _OPENS) - (word in _CLOSES))

    def is_between(n: int) -> bool:
        return (
            depths[n] == depths[low]
            and (n == 0 or words[n - 1] in {";", "{", "}"})
            and words[n : n + 1] != ["else"]
        )

    begin = next((n for n in range(low, -1, -1) if is_between(n)), 0)
    for end in filter(is_between, range(max(high, begin), len(words) + 1)):
        parts = words[begin:end], others[begin : end + beyond]
        if all(not part or part[-1] in {";", "}"} for part in parts):
            return begin, end
    raise ChangeError(f"`{' '.join(words)}` is neither an expression nor statements")


def _out_of_brackets(words: Sequence[str], low: int, high: int) -> tuple[int, int]:
    """The range, widened by the brackets around it that hold no statements."""
    while True:
        open_ones = [0]
        for n, word in enumerate(words[:low], start=1):
            if word in _OPENS:
                open_ones.append(n)
            elif word in _CLOSES and len(open_ones) > 1:
                open_ones.pop()
        if open_ones[-1] == 0 or words[open_ones[-1] - 1] == "{":
            return low, high
        low = open_ones[-1] - 1
        depth = 1
        for n in range(low + 1, len(words)):
            depth += (words[n] in _OPENS) - (words[n] in _CLOSES)
            if depth == 0:
                high = max(high, n + 1)
                break
        else:
            return low, len(words)


def _check_is_between_statements(before: str, text: str) -> None:
    """Refuses to add statements except behind a statement or a brace: behind `if (...)` they would
    become what the `if` controls."""
    code = re.sub(r"//[^\n]*", "", before).rstrip()
    if not code.endswith((";", "{", "}")):
        raise ChangeError(f"`{text}`: what is added does not stand behind a statement")


def write(within: str, switches: Iterable[Switch]) -> str:
    """The text with all switches; one may lie inside another."""
    ordered = sorted(switches, key=lambda each: (each.begin, -each.end, each.number))
    for one, other in itertools.combinations(ordered, 2):
        if one.begin < other.begin < one.end < other.end:
            shown = within[one.begin : other.end]
            raise ChangeError(f"`{shown}`: two mutants change parts of it that overlap")
    return _write(within, 0, len(within), ordered)


def _write(within: str, begin: int, end: int, ordered: Sequence[Switch]) -> str:
    parts = []
    at, n = begin, 0
    while n < len(ordered):
        first = ordered[n]
        alike = [each for each in ordered[n:] if each[:2] == first[:2]]
        inner = [each for each in ordered[n + len(alike) :] if each.begin < first.end]
        parts.append(within[at : first.begin])
        parts.append(_choice(alike, _write(within, first.begin, first.end, inner)))
        at = first.end
        n += len(alike) + len(inner)
    return "".join([*parts, within[at:end]])


def _choice(alike: Sequence[Switch], usual: str) -> str:
    """The text of whichever of several mutants is on, or the original."""
    if alike[0].is_statement:
        tests = [f"if (::tilewise::mutated({each.number})) {{ {each.becomes} }}" for each in alike]
        return " else ".join([*tests, *([f"{{ {usual} }}"] if usual else [])])
    word = "bool" if alike[0].is_condition else ""
    tests = [f"::tilewise::mutated({each.number}) ? {word}({each.becomes}) : " for each in alike]
    return f"({''.join(tests)}{word}({usual}))"
