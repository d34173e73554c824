"""Files that are either the old version or the complete new one, whatever happens meanwhile."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundry_edge_runtime.errors import InputError, StorageError
from foundry_edge_runtime.readers.uri import scheme_of


def refuse_uri(path: str | os.PathLike[str], flag: str) -> None:
    """Files are written here and nowhere else.

    Raises:
        InputError: ``path``, which was given for ``flag``, is a URI.
    """
    if scheme_of(os.fspath(path)):
        raise InputError(
            f"{flag} writes to local folders, found {os.fspath(path)!r}",
            remedy="give a path, and copy what is written",
        )


GRACE_SECONDS = 30.0
"""How long what another writer may still be at work on is left alone."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; on success it is synced and renamed onto ``path``.

    Raises:
        StorageError: the disk is full or the folder cannot be written; ``path`` is then as before.
    """
    path = Path(path)
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(handle)
        partial = Path(name)
        yield partial
        sync(partial)
        partial.chmod(0o644)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot be written ({reason})", where=path, remedy="free space or pick another folder"
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def is_stale(path: Path) -> bool:
    """Whether nobody has touched it for `GRACE_SECONDS`; False when another writer has just removed it."""
    try:
        return time.time() - path.lstat().st_mtime > GRACE_SECONDS
    except FileNotFoundError:
        return False


def move(path: Path, target: Path) -> None:
    """Rename a file, into a folder that is made where it is not there; one that is there is replaced.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    except OSError as error:
        raise StorageError(
            f"cannot be moved to {target.parent} ({error.strerror})", where=path, remedy="pick another folder"
        ) from error


def nearest_existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there: where it would be made."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def try_folder(folder: Path) -> None:
    """See whether files can be made in a folder.

    Raises:
        StorageError: they cannot.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"cannot be written to ({error.strerror})", where=folder, remedy="pick another folder"
        ) from error


def sweep(folder: str | Path) -> None:
    """Remove what killed writers left in a folder that nobody else is writing to."""
    for partial in Path(folder).glob(".*.partial"):
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
