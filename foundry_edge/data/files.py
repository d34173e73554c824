"""Files of data sets: small lists and names, one clear error for what is missing, and hashes of any files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from foundry_edge_runtime.errors import DataError

_LONGEST = 200
"""Characters of a name in a list."""


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 of the names and bytes of files, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        one = hashlib.sha256()
        with path.open("rb") as stream:
            while part := stream.read(1 << 20):
                one.update(part)
        digest.update(f"{path.name} {one.hexdigest()} ".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def require(path: Path, source: str) -> Path:
    """``path``, which a data set must hold.

    Args:
        path: the file or folder.
        source: where the data set is to be had.

    Raises:
        DataError: it is not there.
    """
    if not path.exists():
        raise DataError(
            f"the data set lacks {path.name}", where=path.parent, remedy=f"get it complete from {source}"
        )
    return path


def require_all(paths: list[Path], named_in: str, source: str) -> None:
    """Check that every file a list names is there; the error names the first and counts the others.

    Raises:
        DataError: one is not there.
    """
    missing = [path for path in paths if not path.exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(
            f"{named_in} names {missing[0].name}{more}, which the data set lacks",
            where=missing[0].parent,
            remedy=f"get it complete from {source}",
        )


def require_plain(names: Iterable[str], where: Path, source: str) -> None:
    """Check that what a list names are names: no path, which may lead out of the data set.

    Raises:
        DataError: one is not.
    """
    for name in names:
        if Path(name).name != name or len(name) > _LONGEST:
            raise DataError(
                f"names {name[:_LONGEST]!r}, which is no plain name",
                where=where,
                remedy=f"get it from {source}",
            )


def require_apart(sides: Sequence[Iterable[str]], where: Path, source: str) -> None:
    """Check that no shape is both trained on and tested.

    Args:
        sides: names of the shapes for training, and of those for testing.
        where: the list of the test side.
        source: where the data set is to be had.

    Raises:
        DataError: one is on both sides.
    """
    both = sorted(set(sides[0]) & set(sides[1]))
    if both:
        problem = f"names {both[0]}, which is in the list for training too"
        raise DataError(problem, where=where, remedy=f"get it from {source}")


def read_lines(path: Path, source: str) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        DataError: it is missing, unreadable or empty.
    """
    try:
        text = require(path, source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=path, remedy=f"get it from {source}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError("is empty", where=path, remedy=f"get it from {source}")
    return lines


def read_json_list(path: Path, source: str) -> list[str]:
    """A JSON list of texts that is not empty.

    Raises:
        DataError: it is missing or something else.
    """
    try:
        content = json.loads(require(path, source).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"is no JSON ({error})", where=path, remedy=f"get it from {source}") from error
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise DataError("is no JSON list of texts", where=path, remedy=f"get it from {source}")
    if not content:
        raise DataError("is empty", where=path, remedy=f"get it from {source}")
    return content
