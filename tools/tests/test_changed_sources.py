"""changed_sources.py must leave out nothing that changed."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import changed_sources

DAY = 24 * 60 * 60
NOON = 1_700_000_000  # some day's


@unittest.skipUnless(shutil.which("git"), "git is not installed")
class Repository(unittest.TestCase):
    """A small project under git."""

    def setUp(self) -> None:
        """Two sources, one header between them, and a commit."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = Path(temporary.name).resolve()
        self.git("init", "-q", "-b", "main")
        self.write("src/a.cpp", '#include "a.h"\n')
        self.write("src/a.h", "#pragma once\n")
        self.write("cli/b.cpp", '#include <vector>\n#  include "cli/b.h"\n')
        self.write("cli/b.h", '#include "a.h"\n')
        self.write("commands.json", "")
        commands = [{"file": str(self.root / name)} for name in ("cli/b.cpp", "src/a.cpp")]
        self.write("commands.json", json.dumps([*commands, {"file": "/usr/src/gtest.cpp"}]))
        self.first = self.commit(NOON)

    def git(self, *words: str, time: int = NOON) -> str:
        """What git says."""
        who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a"}
        when = {"GIT_COMMITTER_EMAIL": "a", "GIT_COMMITTER_DATE": f"{time} +0000"}
        done = subprocess.run(
            ["git", "-C", str(self.root), *words],
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), **who, **when},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """A file of the project."""
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def commit(self, time: int) -> str:
        """All as it lies, at that time."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "Change", time=time)
        return self.git("rev-parse", "HEAD")

    def chosen(self, *options: str, base: str = "") -> list[str]:
        """What the script prints."""
        said = io.StringIO()
        # As in a hook of some other repository.
        environment = {"TILEWISE_BASE": base, "GIT_DIR": "/nowhere"}
        with (
            mock.patch.object(changed_sources, "ROOT", self.root),
            mock.patch.dict("os.environ", environment),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            commands = str(self.root / "commands.json")
            self.assertEqual(changed_sources.main([*options, commands]), 0)
        return said.getvalue().split()

    def test_all_when_nothing_older_is_known(self) -> None:
        """A first commit, a shallow clone, a folder without git, a machine without it."""
        self.assertEqual(self.chosen(), ["cli/b.cpp", "src/a.cpp"])
        self.commit(NOON + 2 * DAY)
        self.assertEqual(self.chosen(), [])
        with mock.patch.dict("os.environ", {"PATH": ""}):
            self.assertEqual(self.chosen(), ["cli/b.cpp", "src/a.cpp"])
        (self.root / ".git").rename(self.root / "none")
        self.assertEqual(self.chosen(), ["cli/b.cpp", "src/a.cpp"])

    def test_the_last_day_on_main(self) -> None:
        """Counted back from the newest commit, whatever the clock says."""
        self.write("cli/b.cpp", '#include "cli/b.h"\n')
        self.commit(NOON + DAY)
        self.write("README", "")
        self.commit(NOON + DAY + 60)
        self.assertEqual(self.chosen(), ["cli/b.cpp"])
        self.commit(NOON + 3 * DAY)
        self.assertEqual(self.chosen(), [])

    def test_a_branch_since_it_left_main(self) -> None:
        """However old its commits are."""
        self.git("checkout", "-q", "-b", "branch")
        self.write("src/a.cpp", "")
        self.commit(NOON + DAY)
        self.commit(NOON + 9 * DAY)
        self.assertEqual(self.chosen(), ["src/a.cpp"])

    def test_what_is_not_committed_yet(self) -> None:
        """Edited, and new."""
        self.commit(NOON + 2 * DAY)
        self.write("src/a.cpp", "")
        self.assertEqual(self.chosen(), ["src/a.cpp"])
        self.write("src/c.cpp", "")
        self.write("commands.json", json.dumps([{"file": str(self.root / "src/c.cpp")}]))
        self.assertEqual(self.chosen(), ["src/c.cpp"])

    def test_a_base_that_is_named(self) -> None:
        """It goes before all other rules; one that is unknown means all."""
        self.write("src/a.cpp", "")
        second = self.commit(NOON + 2 * DAY)
        self.commit(NOON + 4 * DAY)
        self.assertEqual(self.chosen(base=self.first), ["src/a.cpp"])
        self.assertEqual(self.chosen(base=second), [])
        self.assertEqual(self.chosen(base="nothing"), ["cli/b.cpp", "src/a.cpp"])

    def test_all_when_asked_and_when_the_rules_changed(self) -> None:
        """Then no file is what it was."""
        self.commit(NOON + 2 * DAY)
        self.assertEqual(self.chosen(), [])
        self.assertEqual(self.chosen("--all"), ["cli/b.cpp", "src/a.cpp"])
        self.write(".clang-tidy", "")
        self.assertEqual(self.chosen(), ["cli/b.cpp", "src/a.cpp"])

    def test_a_changed_header_is_seen_once(self) -> None:
        """Through a changed file if one includes it, else through the one that sees most."""
        self.commit(NOON + 2 * DAY)
        self.write("src/a.h", "// changed\n")
        self.assertEqual(len(self.chosen()), 1)
        self.write("cli/b.h", '#include "a.h"  // changed\n')
        self.assertEqual(self.chosen(), ["cli/b.cpp"])
        self.write("src/a.cpp", '#include "a.h"  // changed\n')
        self.assertEqual(self.chosen(), ["cli/b.cpp", "src/a.cpp"])


if __name__ == "__main__":
    unittest.main()
