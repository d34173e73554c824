"""Polygons as triangles, with their vertex indices checked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.raw import IndexArray
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import parse_rows

NO_FACES: IndexArray = np.empty((0, 3), np.int64)


def fan(polygons: npt.NDArray[np.int64]) -> IndexArray:
    """(M, K) polygons of K corners as (M (K - 2), 3) triangles around their first corner."""
    corners = polygons.shape[1]
    if corners < 3:
        return NO_FACES
    faces = np.empty((len(polygons), corners - 2, 3), np.int64)
    faces[:, :, 0] = polygons[:, :1]
    faces[:, :, 1], faces[:, :, 2] = polygons[:, 1:-1], polygons[:, 2:]
    return faces.reshape(-1, 3)


def fan_all(polygons: list[list[int]]) -> IndexArray:
    """Polygons of any size as triangles; those of fewer than three corners are dropped."""
    by_size: dict[int, list[list[int]]] = {}
    for polygon in polygons:
        by_size.setdefault(len(polygon), []).append(polygon)
    parts = [fan(np.array(group, np.int64)) for size, group in by_size.items() if size >= 3]
    return np.concatenate(parts) if parts else NO_FACES


def require_indices(source: Source, faces: IndexArray, vertices: int) -> IndexArray:
    """The faces, if all their indices name vertices.

    Raises:
        ScanError: an index is negative or too large.
    """
    if len(faces) and (faces.min() < 0 or faces.max() >= vertices):
        worst = int(faces.max()) if faces.max() >= vertices else int(faces.min())
        raise source.error(f"a face names the vertex with index {worst}, the file has {vertices} vertices")
    return faces


def whole_numbers(source: Source, text: bytes, columns: int) -> IndexArray | None:
    """Rows of ``columns`` whole numbers; None when a row is anything else."""
    try:
        table, _ = parse_rows(source, text, columns, first_line=1)
    except ScanError:
        return None
    if not len(table) or not (np.abs(table) < 2**53).all() or (table != np.floor(table)).any():
        return None
    return table.astype(np.int64)
