"""Where the library looks for NVRTC, which lies beside it among Python's packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tilewise import _library

LISTS = """
import json, os, tilewise
set_here = sorted(name for name in os.environ if name.startswith("TILEWISE_NVRTC"))
print(json.dumps([tilewise.kernels("*plain_merge", architectures="sm_90")["nvrtc"], set_here]))
"""


def listed(**changes: str) -> list[object]:
    """Which NVRTC a Python of its own finds, and what is in its environment afterwards."""
    kept = {name: value for name, value in os.environ.items() if "NVRTC" not in name}
    process = subprocess.run(
        [sys.executable, "-c", LISTS],
        env={**kept, **changes},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[object] = json.loads(process.stdout)
    return found


def test_nvrtc_beside_the_package_is_found_without_the_environment(tmp_path: Path) -> None:
    (tmp_path / "tilewise").mkdir()
    library = tmp_path / "tilewise" / "libtilewise.so"
    shutil.copy(_library.library_path(), library)
    folder = tmp_path / "nvidia" / "cuda_nvrtc" / "lib"
    folder.mkdir(parents=True)
    # Newer than any other that there may be: names tell the version, and none is opened.
    (folder / "libnvrtc.so.19").touch()
    (folder / "libnvrtc-builtins.so.19.9").touch()
    # No driver, which might be older.
    (tmp_path / "libcuda.so.1").write_text("no library\n")
    nvrtc, set_here = listed(TILEWISE_LIBRARY=str(library), LD_LIBRARY_PATH=str(tmp_path))
    assert nvrtc == f"19.9 ({folder / 'libnvrtc.so.19'})"
    assert set_here == [], "children would inherit it"
