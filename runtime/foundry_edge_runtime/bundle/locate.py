"""Which bundle is meant: the one named, the environment's, the one just made, or the embedded one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from foundry_edge_runtime.bundle.manifest import MANIFEST
from foundry_edge_runtime.errors import BundleError

Source = Literal["path", "environment", "embedded"]

VARIABLE = "FOUNDRY_EDGE_BUNDLE"
LOCAL = Path("foundry-out") / "bundle"
EMBEDDED = Path(__file__).resolve().parent.parent / "assets" / "bundle"
_MAKE_ONE = "make one with `foundry-edge distill` and `foundry-edge export`, or name another"


def locate_bundle(path: str | os.PathLike[str] | None = None) -> tuple[Path, Source]:
    """The bundle's folder and where its name came from.

    The order: ``path``; else $FOUNDRY_EDGE_BUNDLE; else ./foundry-out/bundle; else the embedded one.
    A bundle that was named and is not there is an error, never a reason to take the next one.

    Raises:
        BundleError: there is none.
    """
    variable = os.environ.get(VARIABLE)
    if path is not None:
        return _existing(Path(path), "the folder named"), "path"
    if variable:
        return _existing(Path(variable), f"the folder that ${VARIABLE} names"), "environment"
    if LOCAL.is_dir():
        return _existing(LOCAL, "the folder"), "path"
    if not (EMBEDDED / MANIFEST).is_file():
        raise BundleError("this installation has no embedded bundle", remedy=_MAKE_ONE)
    return EMBEDDED, "embedded"


def _existing(folder: Path, what: str) -> Path:
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise BundleError(f"{what} {problem}", where=folder, remedy=_MAKE_ONE)
    if not (folder / MANIFEST).exists():
        raise BundleError(f"{what} holds no {MANIFEST}, so it is no bundle", where=folder, remedy=_MAKE_ONE)
    return folder
