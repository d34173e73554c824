"""FPS and nearest neighbours as plain loops over a shallow tree of boxes, for a compiler.

Nothing here is compiled: `compiled` makes machine code of a copy of this module, and the functions give
the same indices, slowly, where they are called as they are. Points lie in canonical order, so runs of `LEAF`
points are compact; each run is a leaf, `FAN` leaves are a branch, `FAN` branches a limb, and each of these
has a bounding box. Squared distances to points and boxes follow the rule of `neighbours`, so that a box is
never farther than a point in it, and what it rules out stays exact (bucket-based FPS, Han et al., 2023).

Arrays, all C-contiguous: ``axes`` (3, leaves * LEAF) float32, the last leaf repeating the last point;
``boxes`` (nodes, 6) float32, lower then upper corners; ``nearest``, of each point, and ``farthest``, of each
node, the squared distance to the nearest sample; ``first`` (4,) int64, the first leaf, branch and limb among
the nodes, then their number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import FloatArray

Indices = npt.NDArray[np.int64]

LEAF = 32
FAN = 16


def build(axes: FloatArray, boxes: FloatArray, first: Indices) -> None:
    """Fill in the boxes of all nodes."""
    for axis in range(3):
        for leaf in range(first[1]):
            low = high = axes[axis, leaf * LEAF]
            for point in range(leaf * LEAF, leaf * LEAF + LEAF):
                low = min(low, axes[axis, point])
                high = max(high, axes[axis, point])
            boxes[leaf, axis] = low
            boxes[leaf, axis + 3] = high
        for level in range(1, 3):
            for node in range(first[level], first[level + 1]):
                child = first[level - 1] + (node - first[level]) * FAN
                low, high = boxes[child, axis], boxes[child, axis + 3]
                for other in range(child + 1, min(child + FAN, first[level])):
                    low = min(low, boxes[other, axis])
                    high = max(high, boxes[other, axis + 3])
                boxes[node, axis] = low
                boxes[node, axis + 3] = high


def gap(low: np.float32, high: np.float32, place: np.float32) -> np.float32:
    """How far a coordinate lies outside an interval."""
    return max(low - place, place - high, np.float32(0))


def reach(boxes: FloatArray, node: int, x: np.float32, y: np.float32, z: np.float32) -> np.float32:
    """Squared distance from a point to a box."""
    dx = gap(boxes[node, 0], boxes[node, 3], x)
    dy = gap(boxes[node, 1], boxes[node, 4], y)
    dz = gap(boxes[node, 2], boxes[node, 5], z)
    return (dx * dx + dy * dy) + dz * dz


def refresh_leaf(
    axes: FloatArray, nearest: FloatArray, leaf: int, x: np.float32, y: np.float32, z: np.float32
) -> np.float32:
    """Take a new sample into account in one leaf; returns the squared distance of its farthest point."""
    best = np.float32(-1)
    for point in range(leaf * LEAF, leaf * LEAF + LEAF):
        dx = axes[0, point] - x
        dy = axes[1, point] - y
        dz = axes[2, point] - z
        distance = min(nearest[point], (dx * dx + dy * dy) + dz * dz)
        nearest[point] = distance
        best = max(best, distance)
    return best


def refresh_branch(
    axes: FloatArray,
    nearest: FloatArray,
    boxes: FloatArray,
    farthest: FloatArray,
    first: Indices,
    branch: int,
    x: np.float32,
    y: np.float32,
    z: np.float32,
) -> np.float32:
    """The same for the leaves of a branch that the sample can change."""
    best = np.float32(-1)
    begin = (branch - first[1]) * FAN
    for leaf in range(begin, min(begin + FAN, first[1])):
        if reach(boxes, leaf, x, y, z) < farthest[leaf]:
            farthest[leaf] = refresh_leaf(axes, nearest, leaf, x, y, z)
        best = max(best, farthest[leaf])
    return best


def refresh(
    axes: FloatArray,
    nearest: FloatArray,
    boxes: FloatArray,
    farthest: FloatArray,
    first: Indices,
    sample: int,
) -> None:
    """The same for the whole tree."""
    x, y, z = axes[0, sample], axes[1, sample], axes[2, sample]
    for limb in range(first[2], first[3]):
        if reach(boxes, limb, x, y, z) < farthest[limb]:
            best = np.float32(-1)
            begin = first[1] + (limb - first[2]) * FAN
            for branch in range(begin, min(begin + FAN, first[2])):
                if reach(boxes, branch, x, y, z) < farthest[branch]:
                    farthest[branch] = refresh_branch(axes, nearest, boxes, farthest, first, branch, x, y, z)
                best = max(best, farthest[branch])
            farthest[limb] = best


def farthest_point(nearest: FloatArray, farthest: FloatArray, first: Indices) -> np.int64:
    """The lowest index of the points farthest from all samples."""
    best = first[2]
    for limb in range(first[2], first[3]):
        if farthest[limb] > farthest[best]:
            best = limb
    value = farthest[best]
    node = first[1] + (best - first[2]) * FAN
    while farthest[node] != value:
        node += 1
    node = (node - first[1]) * FAN
    while farthest[node] != value:
        node += 1
    point: np.int64 = node * LEAF
    while nearest[point] != value:
        point += 1
    return point


def sample(
    axes: FloatArray,
    nearest: FloatArray,
    boxes: FloatArray,
    farthest: FloatArray,
    first: Indices,
    chosen: Indices,
) -> None:
    """Farthest point sampling from ``chosen[0]`` on; fills in the rest of ``chosen`` (c,)."""
    for place in range(1, len(chosen)):
        refresh(axes, nearest, boxes, farthest, first, chosen[place - 1])
        chosen[place] = farthest_point(nearest, farthest, first)


def insert(distances: FloatArray, indices: Indices, held: int, distance: np.float32, index: int) -> int:
    """Put a neighbour in its place among the ``held`` best so far; returns how many are held then."""
    place = held
    if held == len(distances):
        place = held - 1
        if distance == distances[place] and index > indices[place]:
            return held
    while place > 0 and (
        distances[place - 1] > distance or (distances[place - 1] == distance and indices[place - 1] > index)
    ):
        distances[place] = distances[place - 1]
        indices[place] = indices[place - 1]
        place -= 1
    distances[place] = distance
    indices[place] = index
    return min(held + 1, len(distances))


def scan_leaf(
    axes: FloatArray,
    count: int,
    leaf: int,
    point: tuple[np.float32, np.float32, np.float32],
    buffer: FloatArray,
    distances: FloatArray,
    indices: Indices,
    held: int,
) -> int:
    """Offer the points of a leaf, of ``count`` in all, as neighbours; returns how many are held then."""
    begin = leaf * LEAF
    x, y, z = point
    for offset in range(LEAF):
        dx = axes[0, begin + offset] - x
        dy = axes[1, begin + offset] - y
        dz = axes[2, begin + offset] - z
        buffer[offset] = (dx * dx + dy * dy) + dz * dz
    for offset in range(min(LEAF, count - begin)):
        if held < len(distances) or buffer[offset] <= distances[held - 1]:
            held = insert(distances, indices, held, buffer[offset], begin + offset)
    return held


def near(
    boxes: FloatArray,
    node: int,
    point: tuple[np.float32, np.float32, np.float32],
    distances: FloatArray,
    held: int,
) -> bool:
    """Whether a node may hold one of the nearest points."""
    if held < len(distances):
        return True
    return bool(reach(boxes, node, point[0], point[1], point[2]) <= distances[held - 1])


def search(
    axes: FloatArray,
    boxes: FloatArray,
    first: Indices,
    count: int,
    centre: int,
    buffer: FloatArray,
    distances: FloatArray,
    indices: Indices,
) -> None:
    """The nearest points of one centre: from its leaf, those next to it, then all that may matter."""
    point = (axes[0, centre], axes[1, centre], axes[2, centre])
    own = centre // LEAF
    low, high = max(own - 1, 0), min(own + 1, first[1] - 1)
    held = scan_leaf(axes, count, own, point, buffer, distances, indices, 0)
    for leaf in range(low, high + 1):
        if leaf != own:
            held = scan_leaf(axes, count, leaf, point, buffer, distances, indices, held)
    for limb in range(first[2], first[3]):
        if near(boxes, limb, point, distances, held):
            begin = first[1] + (limb - first[2]) * FAN
            for branch in range(begin, min(begin + FAN, first[2])):
                if near(boxes, branch, point, distances, held):
                    start = (branch - first[1]) * FAN
                    for leaf in range(start, min(start + FAN, first[1])):
                        if (leaf < low or leaf > high) and near(boxes, leaf, point, distances, held):
                            held = scan_leaf(axes, count, leaf, point, buffer, distances, indices, held)


def neighbours(
    axes: FloatArray, boxes: FloatArray, first: Indices, count: int, centres: Indices, found: Indices
) -> None:
    """The nearest of ``count`` points to each of the points ``centres`` (c,); fills ``found`` (c, K)."""
    size = found.shape[1]
    buffer = np.empty(LEAF, dtype=np.float32)
    distances = np.empty(size, dtype=np.float32)
    indices = np.empty(size, dtype=np.int64)
    for row in range(len(centres)):
        search(axes, boxes, first, count, centres[row], buffer, distances, indices)
        for place in range(size):
            found[row, place] = indices[place]
