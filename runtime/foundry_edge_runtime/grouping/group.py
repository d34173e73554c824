"""Points to groups: FPS centres and their K nearest neighbours (Point-JEPA, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.grouping.canonical import canonical_order
from foundry_edge_runtime.grouping.compiled import compiled
from foundry_edge_runtime.grouping.neighbours import Indices, ranked
from foundry_edge_runtime.grouping.sampling import (
    centre_and_radius,
    farthest_points,
    normalise,
    stratified_indices,
)
from foundry_edge_runtime.pointcloud import FloatArray

_PER_THREAD = 8  # clouds from which a thread pays
_WINDOW = 6  # times K: points near on the curve, among which K give a bound for the K nearest


class Preprocessing(BaseModel):
    """How points become groups; part of every model config and bundle manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(1024, ge=1, description="N: points sampled from the scan")
    groups: int = Field(64, ge=1, description="c: groups (tokens)")
    group_size: int = Field(32, ge=1, description="K: points per group")
    sampling: str = Field("zorder-stratified", pattern="^zorder-stratified$")
    normalisation: str = Field("unit-sphere", pattern="^unit-sphere$")
    fps_start: str = Field("farthest-from-centroid", pattern="^farthest-from-centroid$")


@dataclass(frozen=True)
class Groups:
    """One grouped cloud.

    Attributes:
        groups: (c, K, 3) float32, coordinates relative to their centre.
        centers: (c, 3) float32, normalised coordinates.
    """

    groups: FloatArray
    centers: FloatArray


def group_indices(xyz: FloatArray, spec: Preprocessing) -> tuple[Indices, Indices]:
    """Centre indices (c,) and neighbour indices (c, K) of normalised, canonically ordered points (N, 3).

    The compiled form gives the same indices as NumPy; it serves once `accelerate` has loaded it.
    """
    fast = compiled()
    if fast is not None:
        return fast.indices(xyz, spec.groups, spec.group_size)
    centre_index, distances = farthest_points(xyz, spec.groups)
    size = min(spec.group_size, len(xyz))
    return centre_index, ranked(distances, size, bounds=_along_the_curve(distances, centre_index, size))


def _along_the_curve(distances: FloatArray, centres: Indices, size: int) -> FloatArray:
    """A distance (c,) for each row of (c, N) that ``size`` points keep within: of those near on the curve."""
    count = distances.shape[1]
    width = min(_WINDOW * size, count)
    begin = np.clip(centres - width // 2, 0, count - width)
    window = np.take_along_axis(distances, begin[:, None] + np.arange(width), axis=1)
    window.partition(size - 1, axis=1)
    bounds: FloatArray = window[:, size - 1]
    return bounds


def prepare(xyz: FloatArray, spec: Preprocessing) -> FloatArray:
    """Canonical order, stratified sample of N points, unit-sphere normalisation.

    Args:
        xyz: (M, 3) float32, M >= 1, finite.

    Returns:
        (N, 3) float32.
    """
    return normalise(sample(xyz, spec))


def sample(xyz: FloatArray, spec: Preprocessing) -> FloatArray:
    """The N points that the model sees: canonical order, stratified; (N, 3) in the unit of ``xyz`` (M, 3)."""
    order = canonical_order(xyz)
    return xyz.take(order[stratified_indices(len(xyz), spec.points)], axis=0)


def to_model_frame(xyz: FloatArray, spec: Preprocessing, grouped: FloatArray | None = None) -> FloatArray:
    """Every point of a cloud in the normalised coordinates that its centres are in.

    Args:
        xyz: (M, 3) float32.
        spec: what it was grouped with.
        grouped: the points that were grouped, where they are not all of ``xyz``.

    Returns:
        (M, 3) float32; points outside the sample may lie a little outside the unit ball.
    """
    centre, radius = centre_and_radius(sample(xyz if grouped is None else grouped, spec))
    return ((xyz.astype(np.float64) - centre) / (radius or 1.0)).astype(np.float32)


def group_points(xyz: FloatArray, spec: Preprocessing) -> Groups:
    """Group a cloud of any size.

    Args:
        xyz: (M, 3) float32, M >= 1, finite, any order and unit.
        spec: N, c and K.

    Returns:
        Groups of shape (c, K, 3) and centres (c, 3); the same for every permutation of ``xyz``.
    """
    return group_prepared(prepare(xyz, spec), spec)


def group_prepared(points: FloatArray, spec: Preprocessing) -> Groups:
    """Group what `prepare` gave.

    Args:
        points: (N, 3) float32, sampled and normalised.
        spec: c and K.
    """
    centre_index, neighbour_index = group_indices(points, spec)
    centers = points.take(centre_index, axis=0)
    groups = points.take(neighbour_index, axis=0)
    groups -= centers[:, None]
    return Groups(groups=groups, centers=centers)


def group_batch(clouds: Sequence[FloatArray], spec: Preprocessing) -> list[Groups]:
    """`group_points` of each cloud, in order; machine code works on several at once, one per CPU.

    Args:
        clouds: of (M, 3) float32 each; M may differ.
        spec: N, c and K.
    """
    workers = min(usable_cpus(), len(clouds) // _PER_THREAD)
    if compiled() is None or workers < 2:
        return [group_points(one, spec) for one in clouds]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(partial(group_points, spec=spec), clouds))
