"""The scans in a folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.readers.detect import SUFFIXES, is_text
from foundry_edge_runtime.readers.table import is_number, lines_of
from foundry_edge_runtime.readers.uri import suffix_of

_AMBIGUOUS = (".txt", ".csv")
"""Suffixes that other files of a folder have too: these are looked into."""


def find_scans(folder: str | os.PathLike[str]) -> list[Path]:
    """Files below a folder that look like scans.

    A file counts when its suffix is that of a scan format (for .txt and .csv also when it starts with
    a table of numbers). Hidden files and folders are left out; links to folders are not followed, so a loop
    cannot occur; links to files are, and each real file is listed once.

    Args:
        folder: a folder.

    Returns:
        Paths below ``folder``, sorted.

    Raises:
        InputError: ``folder`` or a folder in it cannot be listed.
    """
    root = Path(folder)
    found: list[Path] = []
    for parent, folders, files in os.walk(root, followlinks=False, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return _each_once(sorted(path for path in found if _looks_like_scan(path)))


def is_scan_name(path: Path) -> bool:
    """Whether a name ends as scans do; those that other files have too do not count."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and suffix not in _AMBIGUOUS


def is_object(uri: str) -> bool:
    """Whether a URI names one object, and not a prefix; errors as those of `find_objects`."""
    from foundry_edge_runtime.readers.objects import is_single  # noqa: PLC0415 - an extra

    return is_single(uri)


def find_objects(uri: str) -> list[str]:
    """URIs of the scans below a prefix of an object store, by their suffixes, sorted; one object is itself.

    Raises:
        InputError: there is none, or the store cannot be reached.
        MissingExtraError: what reads it is not installed.
    """
    from foundry_edge_runtime.readers.objects import below  # noqa: PLC0415 - an extra

    listed = below(uri)
    found = [uri] if listed is None else [one for one in listed if suffix_of(one) in SUFFIXES]
    if not found:
        known = ", ".join(sorted(SUFFIXES))
        raise InputError("no scan below it", where=uri, remedy=f"scans end in one of {known}")
    return found


def _cannot_list(error: OSError) -> None:
    problem = f"cannot list the folder: {error.strerror}"
    raise InputError(problem, where=error.filename, remedy="check the path and its permissions") from None


def _looks_like_scan(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in _AMBIGUOUS:
        return _starts_with_table(path)
    return suffix in SUFFIXES


def _starts_with_table(path: Path) -> bool:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return True  # let the reader say why it cannot be read
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return True
    if not head or not is_text(head):
        return not head
    for line in list(lines_of(head))[1:4]:
        words = line.replace(b",", b" ").replace(b";", b" ").split()
        if len(words) >= 3 and sum(is_number(word) for word in words) >= 3:
            return True
    return False


def _each_once(paths: list[Path]) -> list[Path]:
    seen: set[str] = set()
    result = []
    for path in paths:
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            result.append(path)
    return result
