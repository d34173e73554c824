"""Paths on standard input as they come, one a line, or each before a NUL byte."""

from __future__ import annotations

import io
import os
import select
from collections.abc import Iterator

from foundry_edge_runtime.readers.source import standard_input
from foundry_edge_runtime.readers.uri import is_uri
from foundry_edge_runtime.streams.items import TICK_SECONDS, Item

_PEEK = 4096
_CHUNK = 1 << 16


def separator() -> bytes:
    """What ends each path on standard input, b"" when it is no list of paths; nothing is taken.

    It is one when the first line, or what comes before the first NUL byte, names a file that exists, or an
    object.

    Raises:
        ScanError: standard input is closed.
    """
    head = standard_input().peek(_PEEK)
    return next((end for end in (b"\n", b"\0") if _is_there(head.partition(end)[0])), b"")


def paths(end: bytes) -> Iterator[Item | None]:
    """The paths, each before an ``end``; None when none came for a while. Empty ones are passed over."""
    rest = b""
    for chunk in _chunks():
        *names, rest = (rest + chunk).split(end)
        for name in filter(None, map(_name, names)):
            yield Item(name)
        if not chunk:
            yield None
    if name := _name(rest):
        yield Item(name)


def _name(line: bytes) -> str:
    return os.fsdecode(line.rstrip(b"\r"))


def _is_there(line: bytes) -> bool:
    if b"\0" in line:
        return False
    name = _name(line)
    return is_uri(name) or os.path.isfile(name)  # noqa: PTH113 - a line too long for a name is none


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
