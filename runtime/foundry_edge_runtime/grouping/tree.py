"""The arrays that `kernels` work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.grouping.kernels import FAN, LEAF, Indices
from foundry_edge_runtime.pointcloud import FloatArray


@dataclass(frozen=True)
class Tree:
    """Canonically ordered points and room for their boxes; see `kernels` for the layout.

    Attributes:
        axes: (3, leaves * LEAF) float32.
        boxes: (nodes, 6) float32, to be built.
        first: (4,) int64.
        count: N, points without the repeated ones.
    """

    axes: FloatArray
    boxes: FloatArray
    first: Indices
    count: int

    def no_samples(self) -> tuple[FloatArray, FloatArray]:
        """``nearest`` and ``farthest`` before the first sample; repeated points are never the farthest."""
        nearest = np.full(self.axes.shape[1], np.inf, dtype=np.float32)
        nearest[self.count :] = -1
        return nearest, np.full(len(self.boxes), np.inf, dtype=np.float32)


def plant(ordered: FloatArray) -> Tree:
    """Lay out points (N, 3) float32, in canonical order."""
    count = len(ordered)
    leaves = -(-count // LEAF)
    branches = -(-leaves // FAN)
    limbs = -(-branches // FAN)
    axes = np.empty((3, leaves * LEAF), dtype=np.float32)
    axes[:, :count] = ordered.T
    axes[:, count:] = ordered[-1][:, None]
    first = np.cumsum([0, leaves, branches, limbs], dtype=np.int64)
    return Tree(axes, np.empty((int(first[3]), 6), dtype=np.float32), first, count)
