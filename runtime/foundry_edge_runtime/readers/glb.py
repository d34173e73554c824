"""GLB: binary glTF 2.0 with everything inside one file (Khronos glTF 2.0 specification, section 4.4).

Triangles and points of the default scene are read. URIs are never followed; compressed meshes are refused.
"""

from __future__ import annotations

import json

import numpy as np

from foundry_edge_runtime.readers.glb_accessors import Arrays
from foundry_edge_runtime.readers.glb_json import Object, integer, objects
from foundry_edge_runtime.readers.glb_nodes import Matrix, placed_meshes
from foundry_edge_runtime.readers.raw import IndexArray, Options, RawCloud
from foundry_edge_runtime.readers.source import ByteArray, Source
from foundry_edge_runtime.readers.triangles import NO_FACES, require_indices

_HEADER = 12
_JSON, _BINARY = 0x4E4F534A, 0x004E4942
_POINTS, _LINES, _TRIANGLES, _STRIP, _FAN = 0, (1, 2, 3), 4, 5, 6
_MAX_JSON = 32 << 20
_FREE, _PRIMITIVE = 2_000_000, 64
"""Nodes may place one mesh many times; more vertices and triangles than this must be in the file."""


def read(source: Source, options: Options) -> RawCloud:
    """Read all vertices of one GLB file in world coordinates, and its triangles."""
    document, binary = _chunks(source)
    arrays = Arrays.of(source, document, binary)
    vertices: list[Matrix] = []
    faces: list[IndexArray] = []
    total = placed = 0
    for mesh, transform in placed_meshes(source, document):
        for primitive in objects(source, mesh, "primitives"):
            points, triangles = _primitive(arrays, primitive)
            vertices.append(points @ transform[:3, :3].T + transform[:3, 3])
            faces.append(triangles + total)
            total += len(points)
            placed += _PRIMITIVE + len(points) + len(triangles)
            if placed > _FREE + source.size // 4:
                raise source.error(
                    f"the scene places {placed} vertices and faces, far more than it holds", "export fewer"
                )
    if total == 0:
        raise source.error("the file has no mesh with vertices: it is empty (no points)", "export it again")
    joined = np.concatenate(faces)
    return RawCloud("glb", ("x", "y", "z"), np.concatenate(vertices), faces=joined if len(joined) else None)


def _chunks(source: Source) -> tuple[Object, ByteArray]:
    """The document and the binary chunk, their lengths checked against the file (P5)."""
    if source.size < _HEADER + 8:
        raise source.error(f"truncated: a GLB header and a chunk need 20 bytes, the file has {source.size}")
    magic, version, length = (int(n) for n in source.array(0, _HEADER).view("<u4"))
    if magic != int.from_bytes(b"glTF", "little") or version != 2:
        raise source.error(f"not a GLB file of version 2: version {version} found", "export as glTF 2.0")
    if length > source.size:
        raise source.error(
            f"truncated: the header gives a length of {length} bytes, the file has {source.size}"
        )
    if length < source.size:
        source.warn(f"{source.size - length} trailing bytes after the GLB were ignored")
    text, position = _chunk(source, _HEADER, length, _JSON)
    binary, _ = _chunk(source, position, length, _BINARY) if position + 8 <= length else (text[:0], position)
    return _document(source, text.tobytes()), binary


def _chunk(source: Source, start: int, end: int, expected: int) -> tuple[ByteArray, int]:
    if start + 8 > end:
        raise source.error(f"truncated: no chunk at byte {start}, the GLB has a length of {end}")
    length, kind = (int(n) for n in source.array(start, 8).view("<u4"))
    if start + 8 + length > end:
        raise source.error(
            f"truncated: the chunk at byte {start} has a length of {length}, {end - start - 8} are left"
        )
    if kind != expected:
        raise source.error(f"the chunk at byte {start} is of type 0x{kind:08x}, expected 0x{expected:08x}")
    return source.array(start + 8, length), start + 8 + length


def _document(source: Source, text: bytes) -> Object:
    if len(text) > _MAX_JSON:
        raise source.error(f"the JSON chunk has a length of {len(text)} bytes, at most {_MAX_JSON} are read")
    try:
        document = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise source.error("the JSON chunk is no JSON object in UTF-8")
    return document


def _primitive(arrays: Arrays, primitive: Object) -> tuple[Matrix, IndexArray]:
    source = arrays.source
    if "KHR_draco_mesh_compression" in (primitive.get("extensions") or ()):
        raise source.error("Draco-compressed glTF is not supported", "export without compression")
    attributes = primitive.get("attributes")
    if not isinstance(attributes, dict) or "POSITION" not in attributes:
        return np.empty((0, 3)), NO_FACES
    points = arrays.positions(integer(source, attributes, "POSITION"))
    mode = integer(source, primitive, "mode", _TRIANGLES)
    if mode == _POINTS or mode in _LINES:
        return points, NO_FACES
    order = np.arange(len(points))
    if "indices" in primitive:
        order = arrays.indices(integer(source, primitive, "indices"))
    return points, require_indices(source, _triangles(source, order, mode), len(points))


def _triangles(source: Source, order: IndexArray, mode: int) -> IndexArray:
    if mode == _TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return NO_FACES
    if mode == _STRIP:
        return np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
    if mode == _FAN:
        return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], axis=1)
    raise source.error(f"glTF mode {mode} is unknown, expected 0 to 6")
