"""OFF meshes in text (Geomview's object file format), with the colour, normal and texture variants.

The counts may follow OFF on its own line, as some ModelNet files have it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.counts import count_of
from foundry_edge_runtime.readers.off_faces import read_faces
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import Table, after_rows, normalise_newlines, parse_rows
from foundry_edge_runtime.readers.triangles import require_indices

MAGIC = re.compile(rb"\s*(ST)?(C)?(N)?(4)?(n)?OFF(?![A-Za-z_])")
_COMMENT = re.compile(rb"#[^\n]*")
_COLOUR = ("red", "green", "blue", "alpha")


@dataclass(frozen=True)
class OffHeader:
    """Counts, the columns after x, y and z, and where the rows start."""

    vertices: int
    faces: int
    homogeneous: bool
    normals: bool
    start: int
    line: int


def read(source: Source, options: Options) -> RawCloud:
    """Read the vertices and faces of one OFF file."""
    body = normalise_newlines(source.read(0, source.size).removeprefix(b"\xef\xbb\xbf"))
    if b"#" in body:
        body = _COMMENT.sub(b"", body)
    header = _header(source, body)
    rest = body[header.start :]
    table, whole = _vertices(source, rest, header, options)
    offset, lines = after_rows(rest, header.vertices)
    text = rest[offset:] if whole and offset >= 0 else b""
    faces = read_faces(source, text, header.faces if whole else 0, header.line + lines, options)
    names = _names(header, table.shape[1])
    xyz = table[:, :3] / table[:, 3:4] if header.homogeneous else table[:, :3]
    return RawCloud(
        format="off",
        fields=tuple(names),
        xyz=xyz,
        attributes=attributes_of({name: table[:, i] for i, name in enumerate(names) if i >= 3}),
        faces=require_indices(source, faces, header.vertices),
    )


def _header(source: Source, body: bytes) -> OffHeader:
    match = MAGIC.match(body)
    if not match:
        raise source.error("not an OFF file: the first word is not OFF")
    if match.group(5):
        raise source.error("OFF of another dimension (nOFF) holds no 3D points", "export it as OFF")
    start = match.end()
    if body[start : start + 32].split(b"\n")[0].strip().upper() == b"BINARY":
        raise source.error("binary OFF is not supported", "export it as text OFF, PLY or STL")
    words: list[bytes] = []
    line = 1 + body.count(b"\n", 0, start)
    while len(words) < 3 and start < len(body):
        end = body.find(b"\n", start, start + (1 << 16))
        end = min(len(body), start + (1 << 16)) if end < 0 else end
        words += body[start:end].split()
        start, line = end + 1, line + 1
    if len(words) not in (2, 3):
        raise source.error("the header lacks the counts of vertices, faces and edges")
    counts = [
        count_of(source, word.decode("latin-1"), f"number of {what}")
        for word, what in zip(words, ("vertices", "faces"), strict=False)
    ]
    if counts[0] == 0:
        raise source.error("the number of vertices is 0: the mesh is empty (no points)", "export it again")
    return OffHeader(counts[0], counts[1], bool(match.group(4)), bool(match.group(3)), start, line)


def _vertices(source: Source, rest: bytes, header: OffHeader, options: Options) -> tuple[Table, bool]:
    """The rows of the vertices, and whether all are there."""
    if header.vertices * 6 - 1 > len(rest) and not options.salvage:
        raise source.error(
            f"truncated: {header.vertices} vertices claimed, only {len(rest)} bytes follow the header"
        )
    first = next((line.split() for line in rest.split(b"\n", 64) if line.strip()), [])
    width = max(len(first), 4 if header.homogeneous else 3)
    table, problem = parse_rows(
        source,
        rest,
        width,
        first_line=header.line,
        rows=header.vertices,
        salvage=options.salvage,
        what=f" of {header.vertices} vertices",
    )
    if len(table) == header.vertices:
        return table, True
    text = f"truncated: {header.vertices} vertices claimed, {len(table)} rows present"
    text += f" ({problem})" if problem else ""
    if not (options.salvage and len(table)):
        raise source.error(text, "re-copy the file, or pass --salvage to keep the vertices")
    source.warn(f"{text}; kept the whole rows")
    return table, False


def _names(header: OffHeader, width: int) -> list[str]:
    names = ["x", "y", "z"] + ["w"] * header.homogeneous
    if header.normals and width >= len(names) + 3:
        names += ["nx", "ny", "nz"]
    rest = width - len(names)
    names += _COLOUR[: rest if rest in (3, 4) else 0]
    return names + [f"column_{i}" for i in range(len(names) + 1, width + 1)]
