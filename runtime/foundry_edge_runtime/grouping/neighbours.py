"""Exact nearest neighbours in one rule that every path obeys: by float32 squared distance, then by index.

The squared distance is (dx * dx + dy * dy) + dz * dz, each operation rounded to float32 and none fused, so
that NumPy, compiled code and a GPU find the same indices, ties included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import FloatArray

Indices = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
_INDEX_BITS = np.uint64(32)


def squared_distances(xyz: FloatArray, centers: FloatArray) -> FloatArray:
    """Squared distances (c, N) of points (N, 3) from centres (c, 3), float32."""
    total = _squared(centers[:, 0, None] - xyz[None, :, 0])
    total += _squared(centers[:, 1, None] - xyz[None, :, 1])
    total += _squared(centers[:, 2, None] - xyz[None, :, 2])
    return total


def _squared(delta: FloatArray) -> FloatArray:
    delta *= delta
    return delta


def ranked(
    distances: FloatArray, k: int, indices: Indices | None = None, bounds: FloatArray | None = None
) -> Indices:
    """The k smallest of each row in order, ties to the lowest index.

    Non-negative floats sort like their bit patterns, so distance and index fit one integer key without ties.

    Args:
        distances: (c, N) float32, not negative, N >= k.
        k: how many.
        indices: (N,) the index of each column, below 2^32; None counts columns.
        bounds: (c,) float32; at least k of each row are known to be no larger, and only these are sorted.

    Returns:
        (c, k) int64.
    """
    columns = np.arange(distances.shape[1]) if indices is None else indices
    keys = _keys(distances, columns) if bounds is None else _keys_within(distances, columns, bounds)
    if k < keys.shape[1]:
        keys.partition(k - 1, axis=1)
        keys = np.ascontiguousarray(keys[:, :k])
    keys.sort(axis=1)
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _keys(distances: FloatArray, columns: Indices) -> Keys:
    keys = distances.view(np.uint32).astype(np.uint64)
    keys <<= _INDEX_BITS
    keys |= columns.astype(np.uint64)
    return keys


def _keys_within(distances: FloatArray, columns: Indices, bounds: FloatArray) -> Keys:
    """Keys of what is within the bounds, in as many columns as the fullest row needs; the rest is larger."""
    within = distances <= bounds[:, None]
    counts = np.count_nonzero(within, axis=1)
    rows = np.repeat(np.arange(len(counts)), counts)
    flat = np.flatnonzero(within)
    places = np.arange(len(flat)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = np.full((len(counts), int(counts.max())), np.iinfo(np.uint64).max, dtype=np.uint64)
    found = distances.reshape(-1)[flat]
    keys[rows, places] = _keys(found, columns[flat - rows * distances.shape[1]])
    return keys


def nearest_neighbours(xyz: FloatArray, centers: FloatArray, k: int) -> Indices:
    """The k nearest points of each centre, exact, nearest first, ties to the lowest index.

    Args:
        xyz: (N, 3) float32, N >= k.
        centers: (c, 3) float32.
        k: neighbours per centre.

    Returns:
        (c, k) int64 indices.
    """
    return ranked(squared_distances(xyz, centers), k)
