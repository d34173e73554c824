"""Points to groups: FPS centres and their K nearest neighbours (Point-JEPA, section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

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
    return centre_index, ranked(distances, min(spec.group_size, len(xyz)))


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
    ordered = xyz[canonical_order(xyz)]
    return ordered[stratified_indices(len(ordered), spec.points)]


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
    points = prepare(xyz, spec)
    centre_index, neighbour_index = group_indices(points, spec)
    centers = points[centre_index]
    return Groups(groups=points[neighbour_index] - centers[:, None, :], centers=centers)
