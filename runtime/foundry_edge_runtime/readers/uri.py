"""Names of scans: paths, and URIs of objects in stores."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")


def scheme_of(name: str) -> str:
    """What stands before :// in a name, "" in a path."""
    scheme, found, _ = name.partition("://")
    return scheme.lower() if found and "/" not in scheme else ""


def is_uri(name: str) -> bool:
    """Whether a name is the URI of an object or a prefix, and not a path."""
    return scheme_of(name) in SCHEMES


def absolute(name: str) -> str:
    """What a scan is called wherever the command stands; no link is followed."""
    return name if is_uri(name) else os.path.abspath(name)  # noqa: PTH100


def name_of(name: str) -> str:
    """The last part of a scan's name."""
    return PurePosixPath(unquote(urlsplit(name).path) if is_uri(name) else name).name


def suffix_of(name: str) -> str:
    """Lower-case suffix of a scan's name, "" without one."""
    return PurePosixPath(name_of(name)).suffix.lower()
