"""install: `import flash_attn` means tilewise.flash_attn, whatever else is installed.

A finder goes in front of Python's own. It answers for flash_attn and its kin, their submodules
included, with the modules of tilewise.flash_attn themselves, so that both names are one module; and
it tells importlib.metadata of distributions of these names, at which many packages look before they
import anything.

This module lies beside the package tilewise, and imports the standard library alone. Python runs it
as it starts, when TILEWISE_FLASH_ATTN asks for it, and may not have found NumPy's folder by then.
Nothing of tilewise is loaded until somebody imports flash_attn.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

FLASH_ATTN_VERSION = "2.8.3"
FLASH_ATTN_4_VERSION = "4.0.0b36"
_OURS = "tilewise.flash_attn"
_MODULES = {
    "flash_attn": _OURS,
    "flash_attn_2_cuda": f"{_OURS}.flash_attn_2_cuda",
    "flash_attn_3": f"{_OURS}.flash_attn_3",
    "flashattn_hopper": f"{_OURS}.flash_attn_3",
    "flash_attn_interface": f"{_OURS}.flash_attn_3.flash_attn_interface",
}
# For each generation: the distribution's name, its version, and the modules it brings.
_DISTRIBUTIONS = {
    2: ("flash-attn", FLASH_ATTN_VERSION, ("flash_attn", "flash_attn_2_cuda")),
    3: ("flash-attn-3", "3.0.0", ("flash_attn_3", "flash_attn_interface", "flashattn_hopper")),
    4: ("flash-attn-4", FLASH_ATTN_4_VERSION, ("flash_attn",)),
}


# Modules of flash_attn that are no attention, and what to take instead.
_NO_ATTENTION = {
    "layers.patch_embed": "torch.nn.Conv2d",
    "losses": "torch.nn.CrossEntropyLoss, or cross_entropy_loss of flash_attn.ops.triton",
    "models": "Hugging Face Transformers, see tilewise.transformers",
    "modules.block": "torch.nn.LayerNorm around flash_attn.modules.mha.MHA",
    "modules.embedding": "torch.nn.Embedding",
    "modules.mlp": "torch.nn.Linear and torch.nn.functional.gelu",
    "ops.activations": "torch.nn.functional",
    "ops.fused_dense": "torch.nn.Linear",
    "ops.layer_norm": "torch.nn.LayerNorm",
    "ops.rms_norm": "torch.nn.RMSNorm",
    "ops.triton.k_activations": "torch.nn.functional",
    "ops.triton.layer_norm": "torch.nn.LayerNorm and torch.nn.RMSNorm",
    "ops.triton.linear": "torch.nn.Linear",
    "ops.triton.mlp": "torch.nn.Linear and torch.nn.functional.gelu",
    "utils.benchmark": "torch.utils.benchmark",
    "utils.distributed": "torch.distributed",
    "utils.pretrained": "Hugging Face Transformers, see tilewise.transformers",
    "utils.torch": "torch itself",
}


# The modules whose frames lie between an import and the finder of this module.
_FINDING = (__name__, "importlib._bootstrap", "_frozen_importlib")


def _real_name(name: str) -> str | None:
    """The module of tilewise that `name` stands for; None if there is none."""
    top, dot, rest = name.partition(".")
    real = _MODULES.get(top)
    return None if real is None else real + dot + rest


def _spec_of(name: str) -> Any:
    """Like importlib.util.find_spec, but finds the packages above it without importing them."""
    if name in sys.modules:
        return sys.modules[name].__spec__
    package, path = name.rpartition(".")[0], None
    if package:
        path = getattr(_spec_of(package), "submodule_search_locations", None)
        if path is None:
            return None
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    specs = (finder.find_spec(name, path, None) for finder in finders)
    return next((spec for spec in specs if spec is not None), None)


class _Loader(importlib.abc.Loader):
    """Loads tilewise's module under flash_attn's name."""

    def __init__(self, real: str) -> None:
        self.real = real
        self._spec: Any = None

    def create_module(self, spec: Any) -> ModuleType:  # noqa: ARG002
        module = importlib.import_module(self.real)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restores the module's spec, which the import has replaced; the module has already run."""
        module.__spec__ = self._spec
        if module.__name__ in (_OURS, f"{_OURS}.flash_attn_3.flash_attn_interface"):
            # What graphs and other packages call as torch.ops.flash_attn and flash_attn_3.
            importlib.import_module(f"{_OURS}._operators").define_all()


class _Refusal(importlib.abc.Loader):
    """Raises when the module is imported, and says what to take instead."""

    def __init__(self, instead: str) -> None:
        self.instead = instead

    def exec_module(self, module: ModuleType) -> None:
        raise ModuleNotFoundError(
            f"{module.__name__} is no attention, and not in tilewise, which stands in for "
            f"flash_attn here; take {self.instead}.",
            name=module.__name__,
        )


class _Distribution(importlib.metadata.Distribution):
    """Metadata of a package of which only the name is here."""

    def __init__(self, name: str, version: str, modules: Sequence[str]) -> None:
        self._texts = {
            "METADATA": (
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                "Summary: Stood in for by tilewise.flash_attn\n"
            ),
            "top_level.txt": "".join(f"{module}\n" for module in modules),
            "INSTALLER": "tilewise\n",
        }

    def read_text(self, filename: str) -> str | None:
        return self._texts.get(filename)

    def locate_file(self, path: Any) -> Any:
        return Path(__file__).parent / path


class _Finder(importlib.abc.MetaPathFinder):
    """The finder in sys.meta_path between install and uninstall."""

    def __init__(self, versions: Sequence[int]) -> None:
        self.versions = tuple(versions)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002
        real = _real_name(fullname)
        found = None if real is None else _spec_of(real)
        if real is None or found is None:
            top, _, rest = fullname.partition(".")
            instead = _NO_ATTENTION.get(rest) if top == "flash_attn" else None
            if instead is None or _is_only_asked():
                return None
            return importlib.machinery.ModuleSpec(fullname, _Refusal(instead))
        is_package = found.submodule_search_locations is not None
        spec = importlib.machinery.ModuleSpec(
            fullname, _Loader(real), origin=found.origin, is_package=is_package
        )
        if is_package:
            spec.submodule_search_locations = list(found.submodule_search_locations or ())
        return spec

    def find_distributions(self, context: Any = None) -> Iterator[_Distribution]:
        wanted = getattr(context, "name", None)
        for version in self.versions:
            given = _DISTRIBUTIONS[version]
            if wanted is None or _normalised(wanted) == given[0]:
                yield _Distribution(*given)


def _is_only_asked() -> bool:
    """Whether importlib.util.find_spec or the like, and no import, has called the finder.

    Python's `import` calls _find_and_load of importlib by that name. If an import got None as well,
    its error would only say that there is no such module, and not what to take instead.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _FINDING:
        if frame.f_code.co_name == "_find_and_load":
            return False
        frame = frame.f_back
    return True


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _finder() -> _Finder | None:
    return next((each for each in sys.meta_path if isinstance(each, _Finder)), None)


def is_installed() -> bool:
    """Whether `import flash_attn` means tilewise now."""
    return _finder() is not None


def install(versions: Sequence[int] = (2, 3)) -> None:
    """From now on `import flash_attn` means tilewise.flash_attn, in this process.

    So do flash_attn_2_cuda, flash_attn_interface, flash_attn_3 and flashattn_hopper, with all their
    submodules, and importlib.metadata finds the distributions flash-attn and flash-attn-3; add 4 to
    `versions` for flash-attn-4. Call it before anything asks for flash_attn: packages remember what
    they found. Whatever flash_attn is installed is left alone, and hidden until uninstall.

    >>> import tilewise.flash_attn
    >>> tilewise.flash_attn.install()
    >>> import flash_attn, importlib.metadata
    >>> flash_attn is tilewise.flash_attn, importlib.metadata.version("flash-attn")
    (True, '2.8.3')
    >>> tilewise.flash_attn.uninstall()
    """
    if isinstance(versions, (int, str)):
        raise ValueError(f"versions is {versions!r}; give several, for example (2, 3).")
    for version in versions:
        if version not in _DISTRIBUTIONS:
            raise ValueError(f"versions has {version!r}; each must be 2, 3 or 4.")
    for name in list(sys.modules):
        real = _real_name(name)
        if real is not None and sys.modules.get(name) is not sys.modules.get(real):
            raise RuntimeError(
                f"{name} is imported already, from {getattr(sys.modules[name], '__file__', None)}, "
                "and others may hold its functions. Call tilewise.flash_attn.install() before "
                "anything imports it."
            )
    before = _finder()
    if before is not None:
        before.versions = tuple(versions)
        return
    sys.meta_path.insert(0, _Finder(versions))
    importlib.invalidate_caches()


def uninstall() -> None:
    """Undoes install. Who has imported flash_attn meanwhile keeps what it got."""
    found = _finder()
    if found is None:
        return
    sys.meta_path.remove(found)
    for name in list(sys.modules):
        if _real_name(name) is not None:
            del sys.modules[name]
    importlib.invalidate_caches()
