"""Scans in object stores and other remote file systems: s3://bucket/scans, gs://, abfs://, hdfs://, file://.

They are named by URIs as pyarrow understands them (extra ``store``), options included:
``s3://bucket/key?region=eu-west-1``. Credentials come from the environment.
"""

from __future__ import annotations

import errno
import shutil
import tempfile
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

from foundry_edge_runtime.errors import ScanError, StorageError, first_line
from foundry_edge_runtime.readers.optional import optional

_BUCKETS = ("s3", "gs", "gcs")  # one client serves every object of a bucket
_CHECK = "check the URI, the credentials and the network"


def is_single(uri: str) -> bool:
    """Whether a URI names one object, and not a prefix; errors as those of `below`."""
    return bool(_looked_up(uri)[1].is_file)


def below(uri: str) -> list[str] | None:
    """URIs of the objects below a prefix, sorted, hidden ones left out; None when the URI names one object.

    Raises:
        ScanError: there is no such prefix, or it cannot be reached.
        MissingExtraError: pyarrow is not installed.
    """
    files, info = _looked_up(uri)
    if info.is_file:
        return None
    try:
        listed = files.get_file_info(_arrow().FileSelector(info.path, recursive=True))
    except OSError as error:
        raise _unreachable(uri, error) from error
    start = len(PurePosixPath(info.path).parts)
    paths = sorted(one.path for one in listed if one.is_file and not _hidden(one.path, start))
    parts = urlsplit(uri)
    head = f"{parts.scheme}://" + ("" if parts.scheme in _BUCKETS else parts.netloc)
    return [f"{head}{quote(path)}" + (f"?{parts.query}" if parts.query else "") for path in paths]


def fetch(uri: str) -> BinaryIO:
    """The bytes of an object in a temporary file that has no name, at their beginning.

    Raises:
        ScanError: there is no such object, or it cannot be reached.
        StorageError: there is no room for it.
        MissingExtraError: pyarrow is not installed.
    """
    files, info = _looked_up(uri)
    if not info.is_file:
        raise ScanError("not an object, but a prefix", where=uri, remedy="name one scan")
    kept = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115 - the caller closes it
    try:
        with files.open_input_stream(info.path) as stream:
            shutil.copyfileobj(stream, kept, 1 << 20)
    except OSError as error:
        kept.close()
        if error.errno == errno.ENOSPC:
            raise StorageError(
                "no room for a scan", where=tempfile.gettempdir(), remedy="free some"
            ) from error
        raise _unreachable(uri, error) from error
    kept.seek(0)
    return kept


def _looked_up(uri: str) -> tuple[Any, Any]:
    """The file system, and what it knows of the path."""
    arrow, parts = _arrow(), urlsplit(uri)
    try:
        if parts.scheme in _BUCKETS:
            _refuse_credentials(parts.scheme, parts.netloc)
            files = _bucket(f"{parts.scheme}://{parts.netloc}" + (f"?{parts.query}" if parts.query else ""))
            path = f"{parts.netloc}{unquote(parts.path)}".rstrip("/")
        else:
            files, path = arrow.FileSystem.from_uri(uri)
        info = files.get_file_info(path)
    except (OSError, ValueError) as error:
        raise _unreachable(uri, error) from error
    if info.type == arrow.FileType.NotFound:
        raise ScanError("no such object", where=uri, remedy=_CHECK)
    return files, info


@lru_cache(maxsize=8)
def _bucket(uri: str) -> Any:
    return _arrow().FileSystem.from_uri(uri)[0]


def _arrow() -> Any:
    return optional("pyarrow.fs", "store", "reading from an object store")


def _refuse_credentials(scheme: str, bucket: str) -> None:
    """Names are printed and kept, so they may hold no secrets."""
    if "@" in bucket:
        raise ScanError(
            "holds credentials",
            where=f"{scheme}://...@{bucket.rpartition('@')[2]}",
            remedy="set them in the environment",
        )


def _hidden(path: str, start: int) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(path).parts[start:])


def _unreachable(uri: str, error: Exception) -> ScanError:
    return ScanError(f"cannot be read: {first_line(error)}", where=uri, remedy=_CHECK)
