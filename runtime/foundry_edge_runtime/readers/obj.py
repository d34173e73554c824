"""Wavefront OBJ meshes: vertices, their colours if all have one, and faces. No material file is opened."""

from __future__ import annotations

import re

import numpy as np

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.raw import Column, IndexArray, Options, RawCloud
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import Table, is_number, normalise_newlines, parse_rows
from foundry_edge_runtime.readers.triangles import NO_FACES, fan_all, require_indices, whole_numbers

_TEXTURE_AND_NORMAL = re.compile(rb"/[^\s]*")
_INDEX = re.compile(rb"-?[0-9]{1,10}\Z")
_NO_ROWS: Table = np.empty((0, 3))
_COLOURS = ("red", "green", "blue")


def read(source: Source, options: Options) -> RawCloud:
    """Read the vertices and faces of one OBJ file."""
    body = normalise_newlines(source.read(0, source.size).removeprefix(b"\xef\xbb\xbf"))
    lines = [line.strip() for line in body.replace(b"\\\n", b" ").split(b"\n")]
    vertices = [line for line in lines if line[:2] in (b"v ", b"v\t")]
    if not vertices:
        raise source.error("no vertex line ('v x y z'): the mesh is empty (no points)", "export it again")
    table = _vertices(source, lines, vertices)
    colours: dict[str, Column] = {}
    if table.shape[1] >= 6:
        colours = {name: table[:, 3 + i] for i, name in enumerate(_COLOURS)}
    faces = _faces(source, lines, len(table))
    return RawCloud(
        format="obj",
        fields=("x", "y", "z", *colours),
        xyz=table[:, :3],
        attributes=attributes_of(colours),
        faces=require_indices(source, faces, len(table)),
    )


def _vertices(source: Source, lines: list[bytes], vertices: list[bytes]) -> Table:
    """(N, 3) coordinates, or more columns when all vertices have as many."""
    width = len(vertices[0].split()) - 1
    text = b"\n".join(line[2:] for line in vertices)
    if width >= 3:
        try:
            table, _ = parse_rows(source, text, width, first_line=1)
        except ScanError:
            table = _NO_ROWS  # rows of different lengths, or a word: found below, with the number of its line
        if len(table) == len(vertices):
            return table
    rows = [_row(source, line, number) for number, line in enumerate(lines, 1) if line[:2] in (b"v ", b"v\t")]
    return np.array(rows, np.float64)


def _row(source: Source, line: bytes, number: int) -> list[float]:
    words = line.split(b"#")[0].split()[1:]
    if len(words) < 3 or not all(is_number(word) for word in words):
        found = shorten(line.decode("latin-1"))
        raise source.error(
            f"line {number}: expected 'v' and at least 3 numbers, found {found!r}", "fix the line"
        )
    return [float(word) for word in words[:3]]


def _faces(source: Source, lines: list[bytes], vertices: int) -> IndexArray:
    rows = [line[2:] for line in lines if line[:2] in (b"f ", b"f\t")]
    if not rows:
        return NO_FACES
    text = _TEXTURE_AND_NORMAL.sub(b"", b"\n".join(rows))
    rows = [row.split(b"#")[0] for row in text.split(b"\n")]
    triangles = whole_numbers(source, text, 3)
    if triangles is not None and len(triangles) == len(rows) and triangles.min() > 0:
        return triangles - 1
    return fan_all([_polygon(source, row, vertices) for row in rows])


def _polygon(source: Source, row: bytes, vertices: int) -> list[int]:
    """Indices from 0; OBJ counts from 1, negative ones from the last vertex."""
    words = row.split()
    if len(words) < 3 or not all(_INDEX.match(word) for word in words):
        found = shorten(row.decode("latin-1"))
        raise source.error(f"face 'f {found}': expected at least 3 vertex indices", "fix the line")
    numbers = [int(word) for word in words]
    if 0 in numbers:
        raise source.error(f"face 'f {shorten(row.decode('latin-1'))}': indices count from 1, found 0")
    return [number - 1 if number > 0 else vertices + number for number in numbers]
