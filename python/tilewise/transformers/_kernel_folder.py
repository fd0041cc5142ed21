"""A folder from which the package `kernels`, and so Transformers, loads tilewise by a name."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

VARIANTS = {"torch-cpu": "cpu", "torch-cuda": "cuda"}
_MODULE = '''\
"""Tilewise's attention for Hugging Face Transformers; the package tilewise itself is imported."""

from tilewise.transformers._attention import forward_by_name as flash_attn_forward

supports_flash_attn = True

__all__ = ["flash_attn_forward", "supports_flash_attn"]
'''


def write_kernel_folder(folder: str | Path) -> list[Path]:
    """Writes the files that the package `kernels` loads into `folder`, and returns their paths.

    With LOCAL_KERNELS=tilewise/attention=FOLDER in the environment
    attn_implementation="tilewise/attention" loads them, without a network and without enable().
    """
    written = []
    for variant, backend in VARIANTS.items():
        place = Path(folder) / "build" / variant
        place.mkdir(parents=True, exist_ok=True)
        digest = base64.b64encode(hashlib.sha256(_MODULE.encode()).digest()).decode()
        metadata = {
            "id": f"tilewise_attention_{backend}",
            "name": "tilewise-attention",
            "version": 1,
            "license": "Apache-2.0",
            "backend": {"type": backend},
            "python-depends": [],
            "digest": {"algorithm": "sha256", "files": {"__init__.py": digest}},
        }
        (place / "__init__.py").write_text(_MODULE, encoding="utf-8")
        (place / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
        written += [place / "__init__.py", place / "metadata.json"]
    return written
