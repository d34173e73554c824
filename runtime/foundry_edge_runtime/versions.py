"""Versions of what is installed, by the name it is imported or distributed by.

ONNX Runtime comes as one of several distributions (onnxruntime, onnxruntime-gpu, a Jetson's own), all of
which fill the same module. Its version is read from that module's source, which takes a millisecond; a search
of all distributions for the one that brought it takes a third of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from foundry_edge_runtime.errors import EnvironmentFault

_ONNXRUNTIME = "onnxruntime"
_LINE = re.compile(r"""^__version__ = ["'](.+)["']""", re.MULTILINE)


def versions(names: Iterable[str]) -> dict[str, str]:
    """The version of each distribution; nothing is imported.

    Raises:
        EnvironmentFault: no build of ONNX Runtime is installed.
        PackageNotFoundError: another one is not.
    """
    return {name: _onnxruntime() if name == _ONNXRUNTIME else metadata.version(name) for name in names}


def _onnxruntime() -> str:
    spec = find_spec(_ONNXRUNTIME)
    if spec is None or spec.origin is None:  # without origin: a folder that a removed wheel left
        raise EnvironmentFault(
            "ONNX Runtime is not installed",
            remedy="pip install onnxruntime, or onnxruntime-gpu for its GPU providers",
        )
    found = _LINE.search(Path(spec.origin).read_text(encoding="utf-8"))
    return found[1] if found else "unknown"
