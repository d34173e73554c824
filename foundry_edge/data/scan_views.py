"""Shapes as scans show them: as they are, turned about the vertical, and as one camera sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge.data.groupings import GroupedShapes, beside, cached_groupings
from foundry_edge.data.one_sided import seen_points
from foundry_edge.data.shape_set import turned
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray


def scan_view(
    xyz: FloatArray, view: int, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """One view of a shape.

    View 0 is the shape as it is, the others are turned about the vertical, and of these every other one, the
    first among them, is what one camera sees (`one_sided`).

    Args:
        xyz: (P, 3) float32, in the unit ball, z up.
        view: its number.
        rng: source of angle and viewpoint.

    Returns:
        (P, 3) float32, and for each point which of ``xyz`` it shows: (P,) int64, -1 for the floor.
    """
    itself = np.arange(len(xyz))
    if not view:
        return xyz, itself
    other = turned(xyz[None], rng)[0]
    if view % 2 == 0:
        return other, itself
    points, source = seen_points(other, rng)
    order = rng.permutation(len(points))  # a grouping takes the first N points
    return points[order], source[order]


def grouped_views(xyz: FloatArray, spec: Preprocessing, views: int, seed: int, cache: Path) -> GroupedShapes:
    """Shapes (M, P, 3) with one variant for each of ``views`` views (`scan_view`), kept in ``cache``."""
    made = []
    for view in range(views):
        rng = np.random.default_rng([seed, view])
        clouds = np.stack([scan_view(shape, view, rng)[0] for shape in xyz])
        made.append(cached_groupings(clouds, spec, 1, seed, cache))
    return beside(made)
