"""STL meshes, binary and text (3D Systems, "StereoLithography Interface Specification", 1989).

STL repeats every vertex for each triangle; equal ones are merged, so that vertices are vertices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.raw import IndexArray, Options, RawCloud
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import normalise_newlines, parse_rows

_HEADER, _FACET = 84, 50
_FACET_DTYPE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])

Corners = npt.NDArray[np.floating]


def read(source: Source, options: Options) -> RawCloud:
    """Read the triangles of one STL file."""
    text = _is_text(source)
    corners = _text(source, options) if text else _binary(source, options)
    xyz, faces = merge(corners)
    return RawCloud(f"stl/{'ascii' if text else 'binary'}", ("x", "y", "z"), xyz, faces=faces)


def merge(corners: Corners) -> tuple[Corners, IndexArray]:
    """(3 M, 3) corners as distinct vertices in order of first use, and (M, 3) faces."""
    rows = np.ascontiguousarray(corners + 0.0)  # -0 and 0 are one vertex
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * 3)))[:, 0]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rows[first[order]], rank[inverse].reshape(-1, 3)


def _is_text(source: Source) -> bool:
    """Binary files may start with "solid" too: the size decides."""
    head = source.head
    if len(head) >= _HEADER and source.size == _HEADER + _FACET * int.from_bytes(head[80:84], "little"):
        return False
    lowered = head.lower()
    return (
        lowered.lstrip()[:5] == b"solid"
        and b"\x00" not in head
        and (b"facet" in lowered or b"endsolid" in lowered)
    )


def _binary(source: Source, options: Options) -> Corners:
    if source.size < _HEADER:
        raise source.error(f"truncated: a binary STL header is {_HEADER} bytes, the file has {source.size}")
    claimed = int.from_bytes(source.read(80, 4), "little")
    have = source.size - _HEADER
    whole = min(claimed, have // _FACET)
    if claimed == 0:
        raise source.error("the file claims 0 triangles: the mesh is empty", "export it again")
    if claimed > whole:
        problem = f"truncated: {claimed} triangles claimed, the file holds {whole} whole ones"
        if not (options.salvage and whole):
            raise source.error(problem, "re-copy the file, or pass --salvage to keep the whole triangles")
        source.warn(f"{problem}; kept those")
    elif have > claimed * _FACET:
        source.warn(f"{have - claimed * _FACET} trailing bytes after the last triangle were ignored")
    facets = source.array(_HEADER, whole * _FACET).view(_FACET_DTYPE)
    return np.asarray(facets["corners"].reshape(-1, 3), np.float32)


def _text(source: Source, options: Options) -> Corners:
    lines = [line.strip() for line in normalise_newlines(source.read(0, source.size)).split(b"\n")]
    vertices = [line[6:] for line in lines if line[:6].lower() == b"vertex"]
    if not vertices:
        raise source.error("the file has no triangle: the mesh is empty", "export it again")
    facets = sum(1 for line in lines if line[:5].lower() == b"facet")
    ended = any(line[:8].lower() == b"endsolid" for line in lines[-64:])
    whole = len(vertices) // 3
    if not ended or len(vertices) != 3 * facets:
        problem = f"truncated: {facets} triangles started, {whole} are complete"
        problem += "" if ended else ", and endsolid is missing"
        if not (options.salvage and whole):
            raise source.error(problem, "re-copy the file, or pass --salvage to keep the whole triangles")
        source.warn(f"{problem}; kept those")
    table, _ = parse_rows(source, b"\n".join(vertices[: 3 * whole]), 3, first_line=1, what=" of the vertices")
    if len(table) < 3 * whole:
        raise source.error(
            f"a vertex line without coordinates: {len(table)} of {3 * whole} have some", "fix the line"
        )
    return table
