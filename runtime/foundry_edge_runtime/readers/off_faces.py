"""The faces of an OFF file: a count, that many vertex indices, and a colour or nothing."""

from __future__ import annotations

import numpy as np

from foundry_edge_runtime.readers.raw import IndexArray, Options
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import parse_rows
from foundry_edge_runtime.readers.triangles import NO_FACES, fan, fan_all

_INDEX_DIGITS = 10


def read_faces(source: Source, text: bytes, count: int, first_line: int, options: Options) -> IndexArray:
    """``count`` faces as triangles.

    Raises:
        ScanError: fewer faces than claimed, or a malformed one, naming the line.
    """
    if count == 0:
        return NO_FACES
    lines = [line for line in text.split(b"\n") if line.strip()]
    if len(lines) < count:
        problem = f"truncated: {count} faces claimed, {len(lines)} present"
        if not options.salvage:
            raise source.error(problem, "re-copy the file, or pass --salvage to keep the vertices")
        source.warn(f"{problem}; kept the vertices")
        return NO_FACES
    faces = _uniform(source, b"\n".join(lines[:count]), lines[0].split(), first_line)
    if faces is not None:
        return faces
    return fan_all([_polygon(source, line.split(), first_line + i) for i, line in enumerate(lines[:count])])


def _uniform(source: Source, text: bytes, first: list[bytes], first_line: int) -> IndexArray | None:
    """Faces that all have as many corners and words as the first; None when they differ."""
    words = text.split()
    lines = text.count(b"\n") + 1
    corners = int(first[0]) if first[0].isdigit() and len(first[0]) < 4 else 0
    if corners < 3 or len(first) != corners + 1 or len(words) != lines * len(first):
        return None
    if any(word != first[0] for word in words[:: len(first)]):
        return None
    table, _ = parse_rows(source, text, len(first), first_line=first_line)
    if (table != np.floor(table)).any() or not (np.abs(table) < 2**53).all():
        return None
    return fan(table[:, 1:].astype(np.int64))


def _polygon(source: Source, words: list[bytes], line: int) -> list[int]:
    corners = int(words[0]) if words[0].isdigit() and len(words[0]) <= _INDEX_DIGITS else -1
    indices = words[1 : corners + 1]
    if (
        corners < 0
        or len(indices) < corners
        or not all(w.isdigit() and len(w) <= _INDEX_DIGITS for w in indices)
    ):
        raise source.error(
            f"line {line}: expected a face as a count and that many vertex indices", "fix the line"
        )
    return [int(word) for word in indices]
