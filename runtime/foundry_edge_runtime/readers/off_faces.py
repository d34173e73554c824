"""The faces of an OFF file: a count, that many vertex indices, and a colour or nothing."""

from __future__ import annotations

from foundry_edge_runtime.readers.raw import IndexArray, Options
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.triangles import NO_FACES, fan, fan_all, whole_numbers

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
    faces = _uniform(source, b"\n".join(lines[:count]), lines[0].split())
    if faces is not None:
        return faces
    return fan_all([_polygon(source, line.split(), first_line + i) for i, line in enumerate(lines[:count])])


def _uniform(source: Source, text: bytes, first: list[bytes]) -> IndexArray | None:
    """Faces that all have as many corners and words as the first; None when they differ."""
    table = whole_numbers(source, text, len(first))
    if table is None or len(first) < 4 or (table[:, 0] != len(first) - 1).any():
        return None
    return fan(table[:, 1:])


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
