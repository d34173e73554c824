"""One exporter at a time per bundle."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from foundry_edge_runtime.errors import StorageError


@contextmanager
def locked(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a bundle: flock on a hidden file beside it, removed afterwards.

    The lock avoids double work; where flock does nothing (some network file systems), bundles stay whole
    all the same, because every file is renamed into place and the manifest last.

    Args:
        folder: the bundle, which need not exist.
        waiting: called once when another process holds the lock.

    Raises:
        StorageError: the lock file cannot be made.
    """
    path = folder.parent / f".{folder.name}.lock"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquire(path, waiting)
    except OSError as error:
        raise StorageError(
            f"cannot be locked ({error.strerror})", where=path, remedy="pick another --out"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _acquire(path: Path, waiting: Callable[[], None]) -> int:
    """An open, locked handle of the file that is at ``path`` now."""
    told = False
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                waiting()
            told = True
            fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_at(handle, path):
            return handle
        os.close(handle)  # its owner removed it meanwhile


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
