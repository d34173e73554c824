"""Views of shapes with part labels: whole, turned, and as one camera sees them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.one_sided import seen_points
from foundry_edge.data.shape_set import ShapeSet, turned
from foundry_edge.training.parts import UNLABELLED, PartData, part_labels, points_with_labels
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray

Labels = npt.NDArray[np.int64]


def part_views(shapes: ShapeSet, spec: Preprocessing, views: int, seed: int) -> PartData:
    """``views`` clouds of every shape, view by view: cloud v * M + i shows shape i.

    View 0 is the shape as it is, the others are turned about the vertical, and of these every other one, the
    first among them, is what one camera sees (`one_sided`); points of the floor under it have no part.

    Args:
        shapes: M shapes with part labels, z up.
        spec: how they are grouped.
        views: V.
        seed: of angles and viewpoints.

    Raises:
        DataError: the set has no part labels, or a shape has no category.
    """
    rng = np.random.default_rng(seed)
    labels = part_labels(shapes)
    pairs = [
        _view(xyz, part, view, rng)
        for view in range(views)
        for xyz, part in zip(shapes.xyz, labels, strict=True)
    ]
    xyz, part = (np.stack(column) for column in zip(*pairs, strict=True))
    grouped = group_shapes(xyz, spec, 1, seed)
    return points_with_labels(xyz, part, np.tile(shapes.label, views), grouped, spec)


def _view(xyz: FloatArray, part: Labels, view: int, rng: np.random.Generator) -> tuple[FloatArray, Labels]:
    """One view of a shape (P, 3), and the part (P,) of each of its points."""
    if not view:
        return xyz, part
    other = turned(xyz[None], rng)[0]
    if view % 2 == 0:
        return other, part
    points, source = seen_points(other, rng)
    label = np.where(source >= 0, part[source], UNLABELLED)
    order = rng.permutation(len(points))  # a grouping takes the first N points
    return points[order], label[order]
