"""NVIDIA's library.

``tensorrt`` (10.3 and newer) and ``tensorrt_rtx`` have the same interface; where a member came or went with a
release, it is looked for and never deduced from a version.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from foundry_edge_runtime.errors import BackendError, first_line

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_INSTALL = {
    "tensorrt": "on a Jetson it comes with JetPack: make the virtual environment with "
    "`python3 -m venv --system-site-packages`; elsewhere: pip install 'foundry-edge[tensorrt]'",
    "tensorrt-rtx": "pip install 'foundry-edge[tensorrt-rtx]'",
}


def installed(name: str) -> bool:
    """Whether the library of a backend can be found; it is not imported."""
    try:
        return find_spec(MODULES[name]) is not None
    except (ImportError, ValueError):  # a parent that breaks, or a module without a specification
        return False


def import_library(name: str) -> Any:
    """The module behind a backend.

    Raises:
        BackendError: it is not installed, or broken.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(MODULES[name])
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(
            f"the Python package {MODULES[name]!r} cannot be imported: {first_line(error)}",
            where=name,
            remedy=_INSTALL[name],
        ) from error
