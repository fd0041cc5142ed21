"""python -m tilewise.transformers kernel FOLDER: writes a folder for the package `kernels`.

LOCAL_KERNELS=tilewise/attention=FOLDER in the environment then makes Transformers load it for
attn_implementation="tilewise/attention".
"""

from __future__ import annotations

import sys

from tilewise.transformers._kernel_folder import write_kernel_folder


def main(arguments: list[str]) -> int:
    """Returns 0 once the folder is written, 2 for wrong arguments."""
    if len(arguments) != 2 or arguments[0] != "kernel":
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    for path in write_kernel_folder(arguments[1]):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
