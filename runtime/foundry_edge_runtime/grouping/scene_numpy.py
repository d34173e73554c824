"""FPS and nearest neighbours of scenes in NumPy: exact, by ruling out blocks; for machines without `fast`."""

from __future__ import annotations

import numpy as np

from foundry_edge_runtime.grouping.blocks import Blocks, Picked, block_size, make_blocks
from foundry_edge_runtime.grouping.neighbours import Indices, ranked, squared_distances
from foundry_edge_runtime.pointcloud import FloatArray

_TILE = 16  # centres that share their candidates
_WIDE = 6  # times K: points near on the curve, among which K give a bound for the K nearest
_LARGEST = 1 << 22  # distances held at once


def sample_blocks(blocks: Blocks, start: int, count: int) -> Indices:
    """Farthest point sampling: indices (c,) of c points, beginning with ``start``; ties to the lowest index.

    A block is looked at only where the new sample is nearer to its box than its farthest point is to the
    samples so far.
    """
    number, size = blocks.axes.shape[1:]
    nearest = np.full((number, size), np.inf, dtype=np.float32)
    nearest.reshape(-1)[blocks.count :] = -1  # the repeated points are never the farthest
    farthest = np.full(number, np.inf, dtype=np.float32)
    chosen = np.empty(count, dtype=np.int64)
    chosen[0] = start
    for i in range(1, count):
        point = blocks.axes[:, chosen[i - 1] // size, chosen[i - 1] % size]
        hit = np.flatnonzero(blocks.reach(point, point) < farthest)
        near = np.minimum(nearest[hit], blocks.distances(hit, point))
        nearest[hit] = near
        farthest[hit] = near.max(axis=1)
        best = int(farthest.argmax())
        chosen[i] = best * size + int(nearest[best].argmax())
    return chosen


def scene_neighbours(ordered: FloatArray, centres: Indices, k: int) -> Indices:
    """The k nearest points (c, k) of centres (c,), all indices into canonically ordered points (N, 3)."""
    blocks = make_blocks(ordered, max(32, block_size(len(ordered)) // 2))
    rank = np.argsort(centres, kind="stable")
    along = centres[rank]
    bounds = _bounds(ordered, along, k)
    found = np.empty((len(centres), k), dtype=np.int64)
    for first in range(0, len(along), _TILE):
        part = slice(first, first + _TILE)
        found[rank[part]] = _tile(blocks, ordered[along[part]], bounds[part], k)
    return found


def _bounds(ordered: FloatArray, centres: Indices, k: int) -> FloatArray:
    """For each centre a squared distance (c,) that at least k points keep within: neighbours on the curve."""
    width = min(len(ordered), _WIDE * k)
    begin = np.clip(centres - width // 2, 0, len(ordered) - width)
    found = np.empty(len(centres), dtype=np.float32)
    step = max(1, _LARGEST // (3 * width))
    for first in range(0, len(centres), step):
        part = slice(first, first + step)
        delta = ordered[begin[part, None] + np.arange(width)] - ordered[centres[part], None]
        delta *= delta
        total = (delta[..., 0] + delta[..., 1]) + delta[..., 2]
        total.partition(k - 1, axis=1)
        found[part] = total[:, k - 1]
    return found


def _tile(blocks: Blocks, centers: FloatArray, bounds: FloatArray, k: int) -> Indices:
    """The k nearest points of a few centres (t, 3), which share the blocks within the widest bound."""
    near = blocks.reach(centers.min(axis=0), centers.max(axis=0)) <= bounds.max()
    picked = np.flatnonzero(near)
    if len(centers) > 1 and len(centers) * len(picked) * blocks.size > _LARGEST:
        half = np.argsort(bounds, kind="stable")[: len(centers) // 2]
        rest = np.setdiff1d(np.arange(len(centers)), half)
        found = np.empty((len(centers), k), dtype=np.int64)
        for part in (half, rest):
            found[part] = _tile(blocks, centers[part], bounds[part], k)
        return found
    return _of_candidates(blocks, picked, centers, bounds, k)


def _of_candidates(
    blocks: Blocks, picked: Picked, centers: FloatArray, bounds: FloatArray, k: int
) -> Indices:
    index = (picked[:, None] * blocks.size + np.arange(blocks.size)).reshape(-1)
    real = int(np.searchsorted(index, blocks.count))
    points = blocks.axes[:, picked].reshape(3, -1)[:, :real].T
    return ranked(squared_distances(points, centers), k, index[:real], bounds)
