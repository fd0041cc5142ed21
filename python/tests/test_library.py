"""What the package tells the library before it is opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tilewise import _library

VARIABLE = "TILEWISE_NVRTC_PATH"


def test_names_the_folders_that_may_hold_nvrtc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("first/nvidia", "second/torch", "third/numpy"):
        (tmp_path / package).mkdir(parents=True)
    monkeypatch.setattr(
        "sys.path", ["", *(str(tmp_path / n) for n in ("first", "second", "third"))]
    )
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    _library.name_packages()
    assert os.environ[VARIABLE] == f"{tmp_path / 'first'}:{tmp_path / 'second'}"


def test_leaves_what_the_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia").mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setenv(VARIABLE, "/mine")
    _library.name_packages()
    assert os.environ[VARIABLE] == "/mine"


def test_names_nothing_where_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nvidia").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", ".", str(tmp_path / "missing")])
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    _library.name_packages()
    assert VARIABLE not in os.environ
