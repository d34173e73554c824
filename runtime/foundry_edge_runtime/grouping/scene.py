"""Grouping of a scene: any number of points as one sequence of c groups, exact, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping.blocks import block_size, make_blocks
from foundry_edge_runtime.grouping.canonical import canonical_order
from foundry_edge_runtime.grouping.compiled import compiled
from foundry_edge_runtime.grouping.neighbours import Indices
from foundry_edge_runtime.grouping.sampling import farthest_from_centroid
from foundry_edge_runtime.grouping.scene_numpy import sample_blocks, scene_neighbours
from foundry_edge_runtime.pointcloud import FloatArray


@dataclass(frozen=True)
class SceneGroups:
    """The groups of a scene; their coordinates are gathered in chunks, when they are needed.

    Attributes:
        points: (N, 3) float32, as given.
        centre_index: (c,) int64 into ``points``, in FPS order, so a prefix is a coarser FPS sample.
        neighbour_index: (c, K) int64 into ``points``, nearest first.
    """

    points: FloatArray
    centre_index: Indices
    neighbour_index: Indices

    def __len__(self) -> int:
        return len(self.centre_index)

    @property
    def centers(self) -> FloatArray:
        """(c, 3) float32, in the coordinates of ``points``."""
        return self.points[self.centre_index]

    def groups(self, first: int = 0, last: int | None = None) -> FloatArray:
        """Groups ``first`` to ``last`` (excluded) as (n, K, 3) float32, relative to their centres."""
        part = slice(first, last)
        gathered = self.points.take(self.neighbour_index[part], axis=0)
        gathered -= self.centers[part, None]
        return gathered

    def chunks(self, size: int) -> Iterator[tuple[slice, FloatArray]]:
        """All groups in order, at most ``size`` at a time: which ones, and their (n, K, 3) coordinates."""
        for first in range(0, len(self), size):
            part = slice(first, min(first + size, len(self)))
            yield part, self.groups(part.start, part.stop)


def group_scene(points: FloatArray, groups: int, size: int) -> SceneGroups:
    """Farthest point sampling over a whole scene, and the nearest points of every sample.

    No point is left out before sampling, nothing is normalised. FPS starts at the point farthest from the
    centroid; ties go to the point that comes first in canonical order, so the groups do not depend on the
    order of the points. The same groups as `group_indices` finds on the same points in canonical order.

    Args:
        points: (N, 3) float32, finite, any order and unit.
        groups: c, at most N.
        size: K, points per group, at most N.

    Raises:
        InputError: N is smaller than ``groups`` or ``size``, or one of these is below 1.
    """
    _check(points, groups, size)
    order = canonical_order(points)
    ordered = points.take(order, axis=0)
    fast = compiled()
    if fast is None:
        blocks = make_blocks(ordered, block_size(len(ordered)))
        centres = sample_blocks(blocks, farthest_from_centroid(ordered), groups)
        neighbours = scene_neighbours(ordered, centres, size)
    else:
        centres, neighbours = fast.indices(ordered, groups, size)
    return SceneGroups(points, order[centres], order[neighbours])


def _check(points: FloatArray, groups: int, size: int) -> None:
    for name, wanted in (("groups", groups), ("group size", size)):
        if not 1 <= wanted <= len(points):
            raise InputError(
                f"expected a number of {name} from 1 to the {len(points)} points of the scene, got {wanted}"
            )
