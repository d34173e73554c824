"""Is a bundle's file the very file that the manifest names?"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from foundry_edge_runtime.bundle.manifest import FileRef
from foundry_edge_runtime.errors import BundleError

_CHUNK = 1 << 20
_AGAIN = "export the bundle again or fetch it anew"
_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)


def open_inside(folder: Path, name: str, *, hard_links: bool = False) -> int:
    """Open a regular file directly in ``folder``; links of either kind are refused.

    Args:
        folder: the bundle.
        name: a plain file name (the manifest's schema holds it to that).
        hard_links: accept a file with several names (package managers install so).

    Returns:
        A file descriptor; the caller closes it.

    Raises:
        BundleError: it is missing, a link, or no regular file.
    """
    path = folder / name
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            raise BundleError(
                "is a symbolic link, expected a file", where=path, remedy="copy the file itself"
            )
        if not stat.S_ISREG(found.st_mode):
            raise BundleError("is no regular file", where=path, remedy=_AGAIN)
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise BundleError(f"cannot be opened: {error.strerror}", where=path, remedy=_AGAIN) from error
    opened = os.fstat(descriptor)
    if (opened.st_ino, opened.st_dev) != (found.st_ino, found.st_dev) or (
        opened.st_nlink > 1 and not hard_links
    ):
        os.close(descriptor)
        raise BundleError(
            f"has {opened.st_nlink} names (hard links), expected a file of its own",
            where=path,
            remedy="copy the file itself",
        )
    return descriptor


def read_checked(folder: Path, ref: FileRef, *, hard_links: bool = False) -> bytes:
    """The content of a bundle file, after its size and SHA-256 were found to be the manifest's.

    Raises:
        BundleError: see `open_inside`; or size or hash differ.
    """
    with os.fdopen(open_inside(folder, ref.name, hard_links=hard_links), "rb") as stream:
        _check_size(os.fstat(stream.fileno()).st_size, folder, ref)
        content = stream.read(ref.bytes + 1)
    _check_size(len(content), folder, ref)
    _check_hash(hashlib.sha256(content).hexdigest(), folder, ref)
    return content


def check_file(folder: Path, ref: FileRef, *, hard_links: bool = False) -> None:
    """As `read_checked`, in bounded memory, keeping nothing."""
    with os.fdopen(open_inside(folder, ref.name, hard_links=hard_links), "rb") as stream:
        _check_size(os.fstat(stream.fileno()).st_size, folder, ref)
        digest = hashlib.sha256()
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    _check_hash(digest.hexdigest(), folder, ref)


def _check_size(found: int, folder: Path, ref: FileRef) -> None:
    if found != ref.bytes:
        raise BundleError(
            f"expected {ref.bytes} bytes, found {found}", where=folder / ref.name, remedy=_AGAIN
        )


def _check_hash(found: str, folder: Path, ref: FileRef) -> None:
    if found != ref.sha256:
        raise BundleError(
            f"expected SHA-256 {ref.sha256[:12]}..., found {found[:12]}...; the file was altered or damaged",
            where=folder / ref.name,
            remedy=_AGAIN,
        )
