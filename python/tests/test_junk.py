"""Whatever the extension is handed, the process lives: it answers, or raises."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from tilewise import _forms, _quick

CALLS = 20_000
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"causal": True, "diagonal": 3},
    {"dropout": 0.5},
    {"max_key_length": 5, "max_query_length": 3},
    {"softcap": 2.0, "window": (3, 0)},
)
NO_ARRAYS = (None, True, False, 0, 1.5, "x", b"", (), [1], object(), 2**70, -5)
TYPES = ("float32", "float64", "float16", "bool", "int32", "int64", "uint64", "uint8")


class Junk:
    """Draws arguments, most of them wrong."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.forms = [_forms.ask(options).form for options in OPTIONS]
        self.forms += [bytes(len(self.forms[0])), b"\1" * len(self.forms[0]), b""]

    def anything(self) -> Any:
        """An array of any rank, type and strides, or none."""
        pick = self.draw.choice
        if self.draw.random() < 0.15:
            return pick(NO_ARRAYS)
        shape = tuple(pick((0, 1, 1, 2, 3, 4, 16)) for _ in range(pick((0, 1, 2, 3, 4, 4, 5))))
        array = np.full(shape, pick((0, 1, 7)), pick(TYPES))
        if array.ndim and self.draw.random() < 0.3:
            array = pick((array[::-1], array.swapaxes(0, -1)))
        return array

    def rows(self) -> Any:
        """Something that could be a query or a key."""
        if self.draw.random() < 0.3:
            return self.anything()
        pick = self.draw.choice
        shape = (pick((1, 2)), pick((1, 3)), pick((1, 2, 4)), pick((1, 8)))
        return np.zeros(shape, pick(("float32", "float32", "float64")))

    def pairs(self) -> Any:
        """Options by their places, and by places that are none."""
        if self.draw.random() < 0.4:
            return None
        flat: list[Any] = []
        for _ in range(self.draw.choice((1, 2, 3))):
            flat += (self.draw.randrange(-3, 60), self.anything())
        return tuple(flat) if self.draw.random() < 0.95 else flat

    def call(self) -> None:
        """One call of one function."""
        pick, extension = self.draw.choice, _quick.extension
        head = (pick(self.forms), pick((0, 0, 0, 1, 3, 7, 256, -1, "x")))
        rows = self.rows()
        operands = (rows, rows, rows) if self.draw.random() < 0.5 else (rows, self.rows(), rows)
        tables = pick((None, (self.rows(), self.rows()), 5))
        any_of = [self.anything() for _ in range(4)]
        function, arguments = pick(
            (
                ("fits", operands),
                ("forward", (*operands, any_of[0], pick((None, True, any_of[1])), self.pairs())),
                (
                    "backward",
                    (rows, *operands, rows, any_of[0], self.pairs(), pick((7, 63, -1)), tables),
                ),
                ("rotary", (rows, self.rows(), self.rows(), any_of[0], self.pairs())),
                ("append", (*operands[:2], rows, rows, any_of[0], tables, *any_of[1:3], None)),
            )
        )
        getattr(extension, function)(*head, *arguments)


def run(seed: int) -> int:
    """How many of the calls were answered."""
    junk, answered = Junk(seed), 0
    for _ in range(CALLS):
        try:
            junk.call()
            answered += 1
        except Exception:  # any will do, as long as the process lives
            continue
    return answered


@pytest.mark.skipif(_quick.extension is None, reason="there is no extension")
@pytest.mark.parametrize("seed", [1, 2])
def test_junk(seed: int) -> None:
    found = subprocess.run(
        [sys.executable, __file__, str(seed)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > CALLS // 2


if __name__ == "__main__":
    print(run(int(sys.argv[1])))
