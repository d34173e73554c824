"""Paths on standard input, one a line, as they come."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Iterator
from pathlib import Path

from foundry_edge_runtime.readers.source import standard_input
from foundry_edge_runtime.readers.uri import is_uri
from foundry_edge_runtime.streams.items import TICK_SECONDS, Item

_PEEK = 4096
_CHUNK = 1 << 16


def is_list_of_paths() -> bool:
    """Whether the first line on standard input names a file that exists, or an object; nothing is taken.

    Raises:
        ScanError: standard input is closed.
    """
    line, end, _ = standard_input().peek(_PEEK).partition(b"\n")
    name = os.fsdecode(line.rstrip(b"\r"))
    return bool(end) and b"\0" not in line and (is_uri(name) or Path(name).is_file())


def paths() -> Iterator[Item | None]:
    """The paths; None when no line came for a while. Empty lines are passed over."""
    rest = b""
    for chunk in _chunks():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if name := os.fsdecode(line.rstrip(b"\r")):
                yield Item(name)
        if not chunk:
            yield None
    if name := os.fsdecode(rest.rstrip(b"\r")):
        yield Item(name)


def _chunks() -> Iterator[bytes]:
    """What comes, b"" when nothing does for a while, until the end; a wait can be interrupted."""
    stream = standard_input()
    try:
        handle = stream.fileno()
    except io.UnsupportedOperation:  # not a real file: it never keeps us waiting
        yield stream.read()
        return
    yield stream.read1(len(stream.peek(_PEEK)))
    while True:
        if not select.select([handle], [], [], TICK_SECONDS)[0]:
            yield b""
            continue
        chunk = os.read(handle, _CHUNK)
        if not chunk:
            return
        yield chunk
