"""Points of a scene in blocks along the Z-order curve, each with its bounding box.

A squared distance to a box is computed from gaps in the arithmetic of `neighbours`. Rounding is monotone, so
it never exceeds the squared distance computed to any point inside: what a box rules out stays exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import FloatArray

Picked = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Blocks:
    """Canonically ordered points, cut into blocks of equal size; the last one repeats its last point.

    Attributes:
        axes: (3, b, S) float32 coordinates.
        low: (3, b) float32, lower corners of the bounding boxes.
        high: (3, b) float32, upper corners.
        count: N, points without the repeated ones.
    """

    axes: FloatArray
    low: FloatArray
    high: FloatArray
    count: int

    @property
    def size(self) -> int:
        """S: points per block."""
        return int(self.axes.shape[2])

    def reach(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """Lower bounds (b,) of the squared distances from a box, given by two corners (3,), to each block."""
        gap = np.maximum(self.low - high[:, None], low[:, None] - self.high)
        np.maximum(gap, 0, out=gap)
        gap *= gap
        bound: FloatArray = (gap[0] + gap[1]) + gap[2]
        return bound

    def distances(self, blocks: Picked, point: FloatArray) -> FloatArray:
        """Squared distances (h, S) from a point (3,) to the points of h blocks."""
        delta = self.axes[:, blocks]
        delta -= point[:, None, None]
        delta *= delta
        total: FloatArray = delta[0]
        total += delta[1]
        total += delta[2]
        return total


def make_blocks(ordered: FloatArray, size: int) -> Blocks:
    """Cut points (N, 3), in canonical order, into blocks of ``size``."""
    count = len(ordered)
    padded = np.concatenate([ordered, np.repeat(ordered[-1:], -count % size, axis=0)])
    axes = np.ascontiguousarray(padded.T).reshape(3, -1, size)
    return Blocks(axes, axes.min(axis=2), axes.max(axis=2), count)


def block_size(count: int) -> int:
    """A power of two near half the square root of N, at least 32: few blocks to test, few points in each."""
    return int(max(32, 1 << max(0, (count // 4).bit_length() // 2)))
