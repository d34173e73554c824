"""The nearest centres of every point of a scene, exact, by ruling out blocks of centres."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping.blocks import make_blocks
from foundry_edge_runtime.grouping.canonical import canonical_order
from foundry_edge_runtime.grouping.neighbours import ranked, squared_distances
from foundry_edge_runtime.pointcloud import FloatArray

Numbers = npt.NDArray[np.int32]
_BLOCK = 16  # centres that share a box
_TILE = 128  # points that share their candidates


class NearestCentres:
    """Finds the k nearest of c centres; ties go to the centre that comes first along the Z-order curve.

    Args:
        centers: (c, 3) float32.
        k: how many; at most c.
    """

    def __init__(self, centers: FloatArray, k: int) -> None:
        self.k = min(k, len(centers))
        self._order = canonical_order(centers)
        self._blocks = make_blocks(centers[self._order], max(_BLOCK, self.k))

    def of(self, xyz: FloatArray) -> tuple[Numbers, FloatArray]:
        """Centres (N, k) int32, nearest first, and their squared distances (N, k), of points (N, 3)."""
        found = np.empty((len(xyz), self.k), dtype=np.int32)
        distances = np.empty((len(xyz), self.k), dtype=np.float32)
        along = canonical_order(xyz)  # neighbours on the curve share their candidates
        for start in range(0, len(along), _TILE):
            rows = along[start : start + _TILE]
            found[rows], distances[rows] = self._tile(xyz[rows])
        return found, distances

    def _tile(self, points: FloatArray) -> tuple[Numbers, FloatArray]:
        index, centers = self._candidates(points)
        squared = squared_distances(centers, points)
        near = ranked(squared, self.k, index)
        columns = np.searchsorted(index, near)
        return self._order[near].astype(np.int32), np.take_along_axis(squared, columns, axis=1)

    def _candidates(self, points: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
        """Indices and coordinates of all centres that may be among the nearest of a few points."""
        blocks, low, high = self._blocks, points.min(axis=0), points.max(axis=0)
        middle = (low + high) / 2
        closest = np.array([blocks.reach(middle, middle).argmin()])
        _, some = self._members(closest)
        if len(some) < self.k:  # the last block may hold fewer centres
            return self._members(np.arange(blocks.low.shape[1]))
        bound = np.partition(squared_distances(some, points), self.k - 1, axis=1)[:, self.k - 1].max()
        return self._members(np.flatnonzero(blocks.reach(low, high) <= bound))

    def _members(self, picked: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], FloatArray]:
        blocks = self._blocks
        index = (picked[:, None] * blocks.size + np.arange(blocks.size)).reshape(-1)
        index = index[index < blocks.count]
        centers: FloatArray = blocks.axes.reshape(3, -1)[:, index].T
        return index, centers
