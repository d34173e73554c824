"""PLY files: ascii, little and big endian; the vertices of clouds and meshes alike.

Faces and other elements are walked to check that the file is whole, then dropped.
"""

from __future__ import annotations

import numpy as np

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.attributes import attributes_of, cast_values
from foundry_edge_runtime.readers.columns import axis_names
from foundry_edge_runtime.readers.ply_header import Element, PlyHeader, parse_header
from foundry_edge_runtime.readers.ply_lists import read_scalars, skip_rows
from foundry_edge_runtime.readers.ply_text import read_text
from foundry_edge_runtime.readers.raw import Column, Options, RawCloud, stack_xyz
from foundry_edge_runtime.readers.source import Source

_RECOPY = "re-copy the file"


def read(source: Source, options: Options) -> RawCloud:
    """Read the vertices of one PLY file."""
    header = parse_header(source)
    vertex = _vertex(source, header)
    axes = axis_names(source, [p.name for p in vertex.properties if p.list_type is None], "vertex properties")
    body = read_text if header.encoding == "ascii" else _binary
    columns = body(source, header, vertex, options)
    x, y, z = (columns.pop(name) for name in axes)
    return RawCloud(
        format=f"ply/{header.encoding}",
        fields=tuple(p.name for p in vertex.properties),
        xyz=stack_xyz(x, y, z),
        attributes=attributes_of({name: _as_declared(vertex, name, c) for name, c in columns.items()}),
    )


def _vertex(source: Source, header: PlyHeader) -> Element:
    for element in header.elements:
        if element.name == "vertex":
            if element.count == 0:
                raise source.error(
                    "element vertex has 0 rows: the scan is empty (no points)", "export it again"
                )
            return element
    raise source.error("the header has no vertex element", "export points as 'element vertex'")


def _as_declared(vertex: Element, name: str, column: Column) -> Column:
    declared = next(p.dtype for p in vertex.properties if p.name == name)
    return column if column.dtype == declared else cast_values(column.astype(np.float64), declared, name)


def _binary(source: Source, header: PlyHeader, vertex: Element, options: Options) -> dict[str, Column]:
    index = header.elements.index(vertex)
    position = header.body
    for element in header.elements[:index]:
        position += _skip(source, element, position)
    columns, position = _vertices(source, vertex, position, options)
    try:
        for element in header.elements[index + 1 :]:
            position += _skip(source, element, position)
    except ScanError as error:
        if not options.salvage:
            raise
        source.warn(f"{error.problem}; kept the vertices")
        return columns
    if position < source.size:
        source.warn(f"{source.size - position} trailing bytes after the last element were ignored")
    return columns


def _skip(source: Source, element: Element, position: int) -> int:
    """Bytes that an element takes, after checking that they are there."""
    if not element.count:
        return 0
    problem = _shortage(source, element, position)
    if problem:
        raise source.error(problem, _RECOPY)
    if not element.has_lists:
        return element.count * element.least_bytes
    return skip_rows(source, source.array(position), element)


def _shortage(source: Source, element: Element, position: int) -> str:
    """What is missing for the rows that an element claims ("" when nothing is; P1, P5)."""
    have, least = source.size - position, element.least_bytes
    if element.count * least <= have:
        return ""
    return (
        f"truncated: element {element.name} claims {element.count} rows of at least {least} bytes, "
        f"the file has {have} bytes left ({have // least} rows)"
    )


def _vertices(
    source: Source, vertex: Element, position: int, options: Options
) -> tuple[dict[str, Column], int]:
    """The scalar properties of the vertices, and where the next element starts."""
    problem = _shortage(source, vertex, position)
    whole = min(vertex.count, (source.size - position) // vertex.least_bytes)
    if problem and (vertex.has_lists or not (options.salvage and whole)):
        raise source.error(problem, f"{_RECOPY}, or pass --salvage to keep the whole rows")
    if vertex.has_lists:
        columns, used = read_scalars(source, source.array(position), vertex)
        return columns, position + used
    if problem:
        source.warn(f"{problem}; kept the whole rows")
    used = whole * vertex.least_bytes
    rows = source.array(position, used).view(vertex.row_dtype)
    columns = {p.name: rows[f"f{i}"] for i, p in enumerate(vertex.properties)}
    return columns, source.size if problem else position + used
