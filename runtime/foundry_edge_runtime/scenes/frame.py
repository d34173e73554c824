"""The frame of a scene: centres in the unit ball, groups at the size that the tokenizer knows.

A student has seen objects: centres within the unit ball and groups of a certain size in it. In a scene of
many groups, scaled as a whole into the unit ball, groups would be tiny. So the two are scaled apart, each to
where its network has been trained: one factor for all centres, one for all groups of the scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping import SceneGroups
from foundry_edge_runtime.pointcloud import FloatArray

BLOCK = 1 << 16


@dataclass(frozen=True)
class Frame:
    """How a scene was scaled.

    Attributes:
        centre: (x, y, z), the mean of the points, in coordinates of the cloud.
        radius: largest distance of a point from it, in the unit of the cloud; 1 when all points coincide.
    """

    centre: tuple[float, float, float]
    radius: float

    def apply(self, xyz: FloatArray) -> FloatArray:
        """Points (N, 3) in the unit ball, float32; computed in float64, a block at a time."""
        out = np.empty_like(xyz)
        for start in range(0, len(xyz), BLOCK):
            rows = slice(start, start + BLOCK)
            out[rows] = (xyz[rows] - np.asarray(self.centre)) / self.radius
        return out


def frame_of(xyz: FloatArray) -> Frame:
    """The frame of points (N, 3) float32, found in float64 without a copy of them."""
    centre = xyz.mean(axis=0, dtype=np.float64)
    largest = 0.0
    for start in range(0, len(xyz), BLOCK):
        offset = xyz[start : start + BLOCK] - centre
        largest = max(largest, float(np.einsum("ij,ij->i", offset, offset).max()))
    x, y, z = (float(value) for value in centre)
    return Frame((x, y, z), float(np.sqrt(largest)) or 1.0)


def group_radii(groups: FloatArray) -> npt.NDArray[np.float64]:
    """Root mean square distance (n,) of the points of groups (n, K, 3) from their centre."""
    square: npt.NDArray[np.float64] = np.einsum("gkx,gkx->g", groups, groups, dtype=np.float64)
    radii: npt.NDArray[np.float64] = np.sqrt(square / groups.shape[1])
    return radii


def group_scale(grouped: SceneGroups, radius: float, chunk: int) -> float:
    """What to multiply all groups by, so that their median radius is ``radius``; 1 where it is zero.

    Args:
        grouped: the scene.
        radius: median of `group_radii` in the student's own data.
        chunk: groups to look at at once.
    """
    radii = np.concatenate([group_radii(groups) for _, groups in grouped.chunks(chunk)])
    median = float(np.median(radii))
    return radius / median if median > 0 else 1.0
