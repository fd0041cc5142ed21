"""Finds and opens libtilewise, makes its calls, and turns a refusal into an exception."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path
from typing import Any

from tilewise import _abi, _names

_MESSAGE_BYTES = 2048
_Message = ctypes.c_char * _MESSAGE_BYTES
_ERRORS: dict[int, type[Exception]] = {
    _abi.Status.INVALID: ValueError,
    _abi.Status.UNSUPPORTED: NotImplementedError,
    _abi.Status.FAILED: RuntimeError,
}


def library_path() -> Path:
    """The library to open: the one that TILEWISE_LIBRARY names, else the installed one."""
    chosen = os.environ.get("TILEWISE_LIBRARY")
    if chosen:
        return Path(chosen)
    names = {"darwin": "libtilewise.dylib", "win32": "tilewise.dll"}
    return Path(__file__).parent / names.get(sys.platform, "libtilewise.so")


def load(path: Path) -> ctypes.CDLL:
    """Opens the library at `path` and makes sure that it speaks this package's ABI."""
    try:
        library = ctypes.CDLL(str(path))
        _abi.declare(library)
    except (OSError, AttributeError) as error:
        raise ImportError(
            f"tilewise cannot use the shared library {path}: {error}. Reinstall tilewise, or set "
            "TILEWISE_LIBRARY to the full path of a libtilewise of the same version."
        ) from error
    version = library.tw_version().decode()
    wanted = ".".join(str(part) for part in _abi.ABI)
    if version.split(".")[:2] != wanted.split("."):
        raise ImportError(
            f"The shared library {path} is tilewise {version}, but this package speaks version "
            f"{wanted}. Install both from one release, or unset TILEWISE_LIBRARY."
        )
    return library


def _is_program() -> bool:
    """Whether Python imports this for `python -m tilewise`."""
    words: list[str] = getattr(sys, "orig_argv", [])  # from Python 3.10 on
    return sys.argv[:1] == ["-m"] and any(
        word == "-m" and name.partition(".")[0] == "tilewise"
        for word, name in zip(words, words[1:])
    )


try:
    _library = load(library_path())
except ImportError as why:
    if _is_program():
        sys.exit(str(why))
    raise


def call(name: str, *arguments: Any) -> None:
    """Calls a function that ends in (message, message_bytes), and raises if it refuses."""
    message = _Message()
    status: int = getattr(_library, name)(*arguments, message, _MESSAGE_BYTES)
    if status != _abi.Status.OK:
        refuse(status, message.value or f"{name} ended with status {status}.".encode())


def refuse(status: int, message: bytes) -> None:
    """Raises the exception of a status, with the library's sentence in Python's names."""
    sentence = _names.in_python(message.decode("utf-8", "replace"))
    raise _ERRORS.get(status, RuntimeError)(sentence or f"The call ended with status {status}.")


def function(name: str) -> Any:
    """A function of the library, to be called by its address."""
    return getattr(_library, name)


def _show_packages() -> None:
    """Tells the library the folders of this Python's packages, which may contain NVRTC.

    By itself the library finds packages beside its file and in an activated environment, but not
    those of an editable installation or of an environment that is used by its path.
    """
    for folder in map(Path, sys.path):
        with contextlib.suppress(OSError):  # a folder that may not be looked into has nothing
            has_any = any((folder / name).is_dir() for name in ("nvidia", "torch"))
            if has_any and folder.is_absolute():
                call("tw_add_nvrtc_folder", ctypes.create_string_buffer(os.fsencode(folder)))


_show_packages()


def version() -> str:
    """The version of the library that is loaded."""
    text: bytes = _library.tw_version()
    return text.decode()


def backend_device(index: int) -> int:
    """The kind of device that backend `index` runs on."""
    kind: int = _library.tw_backend_device(index)
    return kind


def backends() -> list[str]:
    """The names of the library's backends, in the order in which they are tried.

    >>> import tilewise
    >>> "plain" in tilewise.backends()
    True
    """
    names: list[str] = []
    while (name := _library.tw_backend_name(len(names))) is not None:
        names.append(name.decode())
    return names
