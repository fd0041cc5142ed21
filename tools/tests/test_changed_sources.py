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
ALL = ["cli/b.cpp", "src/a.cpp"]


@unittest.skipUnless(shutil.which("git"), "git is not installed")
class Repository(unittest.TestCase):
    """A small project under git: two sources, one header between them, and a commit."""

    def setUp(self) -> None:
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.git("init", "-q", "-b", "main")
        self.write("src/a.cpp", '#include <vector>\n#  include "cli/b.h"\n')
        self.write("src/a.h", "#pragma once\n")
        self.write("cli/b.cpp", '#include "a.h"\n')
        self.write("cli/b.h", '#include "a.h"\n')
        self.write_commands(*ALL)
        self.first = self.commit(NOON)

    def git(self, *words: str, time: int = NOON) -> str:
        who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "a"}
        when = {"GIT_COMMITTER_EMAIL": "a", "GIT_COMMITTER_DATE": f"{time} +0000"}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root), **who, **when}
        command = ["git", "-C", str(self.root), *words]
        return subprocess.check_output(command, env=environment, text=True).strip()

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def write_commands(self, *names: str) -> None:
        files = [*(str(self.root / name) for name in names), "/usr/src/gtest.cpp"]
        self.write("commands.json", json.dumps([{"file": file} for file in files]))

    def commit(self, time: int) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "Change", time=time)
        return self.git("rev-parse", "HEAD")

    def expect(self, *files: str, words: tuple[str, ...] = (), base: str = "") -> None:
        """Holds what the script prints, in a hook of some other repository, against `files`."""
        said = io.StringIO()
        environment = {"TILEWISE_BASE": base, "GIT_DIR": "/nowhere"}
        with (
            mock.patch.object(changed_sources, "ROOT", self.root),
            mock.patch.dict("os.environ", environment),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            self.assertEqual(changed_sources.main([*words, f"{self.root}/commands.json"]), 0)
        self.assertEqual(said.getvalue().split(), list(files))

    def test_all_when_nothing_older_is_known(self) -> None:
        self.expect(*ALL)  # a first commit or a shallow clone
        self.commit(NOON + 2 * DAY)
        self.expect()
        with mock.patch.dict("os.environ", {"PATH": ""}):
            self.expect(*ALL)
        (self.root / ".git").rename(self.root / "none")
        self.expect(*ALL)

    def test_the_last_day_on_main(self) -> None:
        self.write("cli/b.cpp", '#include "cli/b.h"\n')
        self.commit(NOON + DAY)
        self.commit(NOON + DAY + 60)
        self.expect("cli/b.cpp")
        self.commit(NOON + 3 * DAY)
        self.expect()

    def test_a_branch_since_it_left_main(self) -> None:
        self.git("checkout", "-q", "-b", "branch")
        self.write("src/a.cpp", "")
        self.commit(NOON + DAY)
        self.commit(NOON + 9 * DAY)
        self.expect("src/a.cpp")

    def test_what_is_not_committed_a_base_and_the_rules(self) -> None:
        self.write("src/a.cpp", "")
        second = self.commit(NOON + 2 * DAY)
        self.commit(NOON + 4 * DAY)
        self.expect()
        self.expect("src/a.cpp", base=self.first)
        self.expect(base=second)
        self.expect(*ALL, base="nothing")
        self.expect(*ALL, words=("--all",))
        self.write("cli/b.cpp", "")
        self.write("src/c.cpp", "")
        self.write_commands(*ALL, "src/c.cpp")
        self.expect("cli/b.cpp", "src/c.cpp")
        self.write(".clang-tidy", "")
        self.expect(*ALL, "src/c.cpp")

    def test_a_changed_header_is_seen_once(self) -> None:
        """Through a changed file if one includes it, else through the one that sees most."""
        self.commit(NOON + 2 * DAY)
        self.write("cli/b.h", '#include "a.h"  // changed\n')
        self.write("src/a.h", "// changed\n")
        self.expect("src/a.cpp")
        self.write("cli/b.cpp", '#include "a.h"  // changed\n')
        self.expect(*ALL)
        self.git("checkout", "cli/b.h")
        self.expect("cli/b.cpp")
