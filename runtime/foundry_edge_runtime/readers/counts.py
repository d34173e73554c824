"""Strict integers from untrusted header text."""

from __future__ import annotations

import re

from foundry_edge_runtime.readers.source import Source

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")


def count_of(source: Source, text: str, what: str, *, minimum: int = 0) -> int:
    """``text`` as an integer >= ``minimum``.

    Args:
        source: for the error message.
        text: decimal digits with an optional sign, at most 18 digits.
        what: how to call it in a message ("POINTS").
        minimum: smallest value allowed.

    Raises:
        ScanError: not an integer, or too small.
    """
    if not _INTEGER.match(text):
        raise source.error(f"{what}: expected an integer, found {shorten(text)!r}")
    value = int(text)
    if value < minimum:
        kind = "negative count" if value < 0 else "count"
        raise source.error(f"{what}: {kind} {value}, expected at least {minimum}")
    return value


def shorten(text: str, limit: int = 40) -> str:
    """``text``, cut for a one-line message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
