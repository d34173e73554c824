"""The folder that plans are kept in: nobody else may be able to write there, because a plan is code.

Loading a plan can run code that is in it, and NVIDIA's own validity check does not detect tampering. What
lies in a folder that others can write to, that belongs to someone else, or that is reached through a link,
is never deserialised.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundry_edge_runtime.cache import CACHE_VARIABLE, cache_folder
from foundry_edge_runtime.errors import StorageError

_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ELSEWHERE = f"remove it, or name another cache folder in ${CACHE_VARIABLE}"


def plan_folder() -> Path:
    """Where plans are kept: below the user's cache folder."""
    return cache_folder() / "plans"


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of the folder, after it was found to be one that only this user can write to.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it cannot be trusted; the message says why.
    """
    _check_parents(folder)
    try:
        descriptor = os.open(folder, _DIRECTORY)
    except FileNotFoundError:
        raise
    except OSError as error:
        link = folder.is_symlink()
        problem = "is a symbolic link" if link else f"cannot be opened as a folder ({error.strerror})"
        raise StorageError(
            f"{problem}, so no plan is read from it", where=folder, remedy=_ELSEWHERE
        ) from error
    try:
        _check_folder(os.fstat(descriptor), folder)
        yield descriptor
    finally:
        os.close(descriptor)


def read_own(folder: int, name: str, limit: int) -> bytes:
    """The content of a file that is this user's alone, at most ``limit`` bytes long.

    Raises:
        ValueError: it is not; says why, the file name left out.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except OSError as error:
        raise ValueError(f"cannot be opened ({error.strerror}); links are not followed") from error
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise ValueError("is no regular file of one name")
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            raise ValueError("belongs to another user, or others can write to it")
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"is longer than the {limit} bytes expected")
    return content


def secure(folder: Path) -> str:
    """Make the folder, or make it safe again: mode 0700; what others could have written is discarded.

    Returns:
        A line to tell when plans were discarded, else "".

    Raises:
        StorageError: it belongs to someone else, is a link, or cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return _tighten(folder)
    except OSError as error:
        raise StorageError(f"cannot be used ({error.strerror})", where=folder, remedy=_ELSEWHERE) from error


def _tighten(folder: Path) -> str:
    found = folder.lstat()
    exposed = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & _OTHERS
    discarded = 0
    if exposed:
        folder.chmod(0o700)
        discarded = sum(_discard(path) for path in folder.iterdir())
    with opened(folder) as descriptor:
        os.fchmod(descriptor, 0o700)
    return f"{folder} was writable by others: {discarded} files in it were discarded" if exposed else ""


def _discard(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return 0  # never ours, and never read
    path.unlink(missing_ok=True)
    return 1


def _check_folder(found: os.stat_result, folder: Path) -> None:
    if found.st_uid != os.geteuid():
        raise StorageError(
            f"belongs to user {found.st_uid}, so no plan is read from it", where=folder, remedy=_ELSEWHERE
        )
    if found.st_mode & _OTHERS:
        raise StorageError(
            f"is writable by others (mode {stat.S_IMODE(found.st_mode):o}), so no plan is read from it",
            where=folder,
            remedy="`foundry-edge build` discards what is in it and builds anew",
        )


def _check_parents(folder: Path) -> None:
    """Whoever can write to a folder above can put another in its place; the sticky bit prevents that."""
    nearest = folder.parent.resolve()
    for parent in (nearest, *nearest.parents):
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise StorageError(
                "is writable by everyone, so no plan is read from below it", where=parent, remedy=_ELSEWHERE
            )
