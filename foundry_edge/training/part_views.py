"""Views of shapes with part labels: whole, turned, and as one camera sees them."""

from __future__ import annotations

import numpy as np

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.scan_views import scan_view
from foundry_edge.data.shape_set import ShapeSet
from foundry_edge.training.parts import UNLABELLED, PartData, part_labels, points_with_labels
from foundry_edge_runtime.grouping import Preprocessing


def part_views(shapes: ShapeSet, spec: Preprocessing, views: int, seed: int) -> PartData:
    """``views`` clouds of every shape, view by view: cloud v * M + i shows shape i as `scan_view` v does.

    Points of the floor under a shape have no part.

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
    clouds, parts = [], []
    for view in range(views):
        for xyz, part in zip(shapes.xyz, labels, strict=True):
            points, source = scan_view(xyz, view, rng)
            clouds.append(points)
            parts.append(np.where(source >= 0, part[source], UNLABELLED))
    xyz = np.stack(clouds)
    grouped = group_shapes(xyz, spec, 1, seed)
    return points_with_labels(xyz, np.stack(parts), np.tile(shapes.label, views), grouped, spec)
