"""Where the machine code of grouping is kept: a folder of the user's own, since what lies there is run."""

from __future__ import annotations

import hashlib
import os
import platform
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.device import cpu_model
from foundry_edge_runtime.grouping import kernels

NUMBA_CACHE = "NUMBA_CACHE_DIR"  # numba's own variable goes first, as its users expect


def _kept() -> Path:
    return cache_folder() / "grouping"


def folder() -> Path | None:
    """The folder for machine code, made where missing; None where no private one can be written."""
    path = Path(os.environ.get(NUMBA_CACHE) or _kept())
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError:
        return None
    mine = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return path if mine and os.access(path, os.W_OK) else None


def emptied(path: Path | None) -> bool:
    """Remove the machine code in ``path``, where that is our own folder; whether it was."""
    if path is None or path != _kept():
        return False
    for one in path.glob("*/*.nb[ic]"):
        one.unlink(missing_ok=True)
    return True


def prepared() -> bool:
    """Whether `mark_prepared` was called on this machine with this source and these versions."""
    return _stamp().exists()


def mark_prepared(kept: Path | None) -> None:
    """Note that the machine code is kept in ``kept``; where it is kept nowhere, or no note can be left, none.

    The next process then compiles again, or leaves NumPy in place.
    """
    if kept is None:
        return
    try:
        _stamp().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _stamp().touch()
    except OSError:
        return


@contextmanager
def used_by(numba: Any, path: Path | None) -> Iterator[None]:
    """Numba asks its configuration for the folder when a function is decorated; left as it was after."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = before if path is None else str(path)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def _stamp() -> Path:
    key = hashlib.sha256(Path(kernels.__file__).read_bytes())
    parts = [platform.python_version(), platform.machine(), cpu_model(), *map(_version, ("numba", "numpy"))]
    key.update(repr(parts).encode())
    return _kept() / f"{key.hexdigest()[:32]}.prepared"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
