"""Names of objects in stores, and how they differ from paths."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")


def is_uri(name: str) -> bool:
    """Whether a name is the URI of an object or a prefix, and not a path."""
    scheme, found, _ = name.partition("://")
    return bool(found) and scheme.lower() in SCHEMES


def name_of(uri: str) -> str:
    """The last part of an object's name."""
    return PurePosixPath(unquote(urlsplit(uri).path)).name


def suffix_of(uri: str) -> str:
    """Lower-case suffix of an object's name."""
    return PurePosixPath(name_of(uri)).suffix.lower()
