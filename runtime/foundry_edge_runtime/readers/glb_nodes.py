"""Where the meshes of a glTF scene are placed (glTF 2.0, section 3.5.3)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.glb_json import Object, integer, item, numbers, objects
from foundry_edge_runtime.readers.rotation import rotation_matrix
from foundry_edge_runtime.readers.source import Source

Matrix = npt.NDArray[np.float64]
_IDENTITY = np.eye(4).ravel().tolist()


def placed_meshes(source: Source, document: Object) -> Iterator[tuple[Object, Matrix]]:
    """Each mesh of the scene with its (4, 4) transform to world coordinates.

    Raises:
        ScanError: the nodes form no tree, or an index names nothing.
    """
    nodes = objects(source, document, "nodes")
    meshes = objects(source, document, "meshes")
    if not nodes:
        yield from ((mesh, np.eye(4)) for mesh in meshes)
        return
    seen: set[int] = set()
    stack = [(index, np.eye(4)) for index in reversed(_roots(source, document, nodes))]
    while stack:
        index, parent = stack.pop()
        if index in seen:
            raise source.error(f"glTF node {index} is reached twice: the nodes form no tree")
        seen.add(index)
        node = item(source, nodes, index, "node")
        transform = parent @ _local(source, node)
        if "mesh" in node:
            yield item(source, meshes, integer(source, node, "mesh"), "mesh"), transform
        stack += [(child, transform) for child in reversed(_indices(source, node, "children"))]


def _roots(source: Source, document: Object, nodes: list[Object]) -> list[int]:
    scenes = objects(source, document, "scenes")
    if scenes:
        return _indices(source, item(source, scenes, integer(source, document, "scene", 0), "scene"), "nodes")
    children = {child for node in nodes for child in _indices(source, node, "children")}
    return [index for index in range(len(nodes)) if index not in children]


def _indices(source: Source, parent: Object, key: str) -> list[int]:
    value = parent.get(key, [])
    if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
        raise source.error(f"glTF {key}: expected an array of indices")
    return value


def _local(source: Source, node: Object) -> Matrix:
    """A node's own transform: a column-major matrix, or translation, rotation (quaternion) and scale."""
    if "matrix" in node:
        return np.array(numbers(source, node, "matrix", _IDENTITY)).reshape(4, 4).T
    x, y, z, w = numbers(source, node, "rotation", [0.0, 0.0, 0.0, 1.0])
    transform = np.eye(4)
    transform[:3, :3] = rotation_matrix(w, x, y, z)
    transform[:3, :3] *= numbers(source, node, "scale", [1.0, 1.0, 1.0])
    transform[:3, 3] = numbers(source, node, "translation", [0.0, 0.0, 0.0])
    return transform
