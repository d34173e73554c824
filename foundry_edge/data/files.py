"""Files of data sets: small lists and names, one clear error for what is missing, and hashes of any files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from foundry_edge_runtime.errors import DataError


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
    """A JSON list of texts.

    Raises:
        DataError: it is missing or something else.
    """
    try:
        content = json.loads(require(path, source).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"is no JSON ({error})", where=path, remedy=f"get it from {source}") from error
    if not isinstance(content, list) or not all(isinstance(item, str) for item in content):
        raise DataError("is no JSON list of texts", where=path, remedy=f"get it from {source}")
    return content
