"""Where the library looks for NVRTC, which lies beside it among Python's packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tilewise import _library

# An NVRTC that compiles nothing, into nothing.
NVRTC = """
typedef unsigned long Bytes;
int nvrtcVersion(int* major, int* minor) { *major = 12; *minor = 9; return 0; }
int nvrtcCreateProgram(void** made) { *made = made; return 0; }
int nvrtcCompileProgram(void) { return 0; }
int nvrtcDestroyProgram(void) { return 0; }
int nvrtcGetProgramLogSize(void* of, Bytes* bytes) { *bytes = 0; return 0; }
int nvrtcGetProgramLog(void) { return 0; }
int nvrtcGetCUBINSize(void* of, Bytes* bytes) { *bytes = 0; return 0; }
int nvrtcGetCUBIN(void) { return 0; }
int nvrtcGetPTXSize(void* of, Bytes* bytes) { *bytes = 0; return 0; }
int nvrtcGetPTX(void) { return 0; }
"""
LISTS = """
import json, os, tilewise
listed = tilewise.kernels("*plain_merge", architectures="sm_90", driver="12.9")
set_here = sorted(name for name in os.environ if name.startswith("TILEWISE_NVRTC"))
print(json.dumps([listed["nvrtc"], set_here]))
"""


def install(packages: Path) -> Path:
    """Puts that NVRTC where a package of Python has it. By its name it is the newest of CUDA 12."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    folder = packages / "nvidia" / "cuda_nvrtc" / "lib"
    folder.mkdir(parents=True)
    (folder / "libnvrtc-builtins.so.12.99").touch()
    library = folder / "libnvrtc.so.12"
    words = [compiler, "-shared", "-fPIC", "-w", "-x", "c", "-", "-o", str(library)]
    subprocess.run(words, input=NVRTC, text=True, check=True)
    return library


def listed(**changes: str) -> list[object]:
    """Which NVRTC a new Python process finds, and its variables TILEWISE_NVRTC... afterwards."""
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
    nvrtc = install(tmp_path)
    assert listed(TILEWISE_LIBRARY=str(library)) == [f"12.9 ({nvrtc})", []], (
        "children would inherit what is set"
    )


def test_nvrtc_among_the_packages_of_this_python_is_found(tmp_path: Path) -> None:
    # As with an editable installation, --target, or an environment that is not activated.
    nvrtc = install(tmp_path / "site")
    paths = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    found = listed(TILEWISE_LIBRARY=str(_library.library_path()), PYTHONPATH=path)
    assert found == [f"12.9 ({nvrtc})", []]
