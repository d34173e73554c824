"""Scenes to learn from: whole scans thinned out, pieces of them at their own density, and synthetic rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foundry_edge.data.scenes import make_scenes
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import Preprocessing, canonical_order, group_scene
from foundry_edge_runtime.grouping.sampling import stratified_indices
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.readers import find_scans, read_points
from foundry_edge_runtime.scenes.frame import frame_of, group_radii

Scaling = Literal["apart", "sphere", "metric", "each"]
Cut = Literal["whole", "piece"]


@dataclass(frozen=True)
class SceneBatch:
    """Grouped scenes of the same number of groups.

    Attributes:
        groups: (M, c, K, 3) float32, relative to their centre, scaled.
        centers: (M, c, 3) float32, in FPS order.
    """

    groups: Tensor
    centers: Tensor

    def __len__(self) -> int:
        return len(self.groups)


def read_scenes(sources: Sequence[Path]) -> list[FloatArray]:
    """The points (N, 3) of every scan named, or of every scan of a folder.

    Raises:
        DataError: there is none.
        ScanError: one cannot be read.
    """
    paths = [one for source in sources for one in (find_scans(source) if source.is_dir() else [source])]
    if not paths:
        raise DataError("there is no scan", where=", ".join(map(str, sources)), remedy="give others")
    return [read_points(path).xyz for path in paths]


def synthetic_scenes(shapes: FloatArray, count: int, points: int, seed: int) -> list[FloatArray]:
    """``count`` rooms of ``points`` points with shapes (M, P, 3) in them, see `make_scenes`."""
    rng = np.random.default_rng(seed)
    dense = [_dense(shapes[rng.choice(len(shapes), min(16, len(shapes)), replace=False)], points, rng)]
    dense *= count
    return [make_scenes(one, 1, seed + i)[0] for i, one in enumerate(dense)]


def _dense(shapes: FloatArray, points: int, rng: np.random.Generator) -> FloatArray:
    """Shapes with ``points`` points each: those they have, and more beside them."""
    index = rng.integers(shapes.shape[1], size=(len(shapes), points))
    drawn = np.take_along_axis(shapes, index[..., None], axis=1)
    return (drawn + rng.normal(scale=0.01, size=drawn.shape)).astype(np.float32)


def cut_scene(xyz: FloatArray, count: int, cut: Cut, rng: np.random.Generator) -> FloatArray:
    """``count`` points of a scene: the whole of it thinned out evenly, or the nearest to one of its points.

    Points repeat where the scene has fewer.
    """
    if cut == "piece" and len(xyz) > count:
        offset = xyz - xyz[rng.integers(len(xyz))]
        index = np.argpartition(np.einsum("ij,ij->i", offset, offset), count - 1)[:count]
    else:
        shift = rng.integers(max(len(xyz) // count, 1))
        even = np.minimum(stratified_indices(len(xyz), count) + shift, len(xyz) - 1)
        index = canonical_order(xyz)[even]
    cut_out: FloatArray = xyz[index]
    return cut_out


def group_scenes(
    clouds: Sequence[FloatArray], spec: Preprocessing, radius: float, scaling: Scaling = "apart"
) -> SceneBatch:
    """Group clouds of the same N as scenes are at run time: c = N / K groups over all points.

    Args:
        clouds: (N, 3) each.
        spec: gives K.
        radius: median `group_radii` that groups are scaled to.
        scaling: ``apart`` is what the runtime does: centres in the unit ball, groups by one factor of the
            scene. The others are for comparison: ``sphere`` leaves groups as small as they are in the unit
            ball, ``metric`` scales centres along with the groups, ``each`` gives every group the radius.
    """
    parts = [_grouped(xyz, spec.group_size, radius, scaling) for xyz in clouds]
    groups, centers = (torch.from_numpy(np.stack(column)) for column in zip(*parts, strict=True))
    return SceneBatch(groups, centers)


def _grouped(xyz: FloatArray, size: int, radius: float, scaling: Scaling) -> tuple[FloatArray, FloatArray]:
    grouped = group_scene(frame_of(xyz).apply(xyz), len(xyz) // size, size)
    groups, centers = grouped.groups(), grouped.centers
    if scaling == "sphere":
        return groups, centers
    radii = np.maximum(group_radii(groups), 1e-12)
    if scaling == "each":
        return (groups * (radius / radii)[:, None, None]).astype(np.float32), centers
    factor = np.float32(radius / float(np.median(radii)))
    return groups * factor, centers * factor if scaling == "metric" else centers
