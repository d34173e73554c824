"""A set of shapes: points, labels, a split and, where the source has them, part labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping import normalise
from foundry_edge_runtime.pointcloud import FloatArray

TRAIN, TEST = 0, 1
POINTS = 2048
"""Points per shape that the readers keep of larger files."""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ShapeSet:
    """A set of shapes with labels and a split.

    Attributes:
        name: e.g. "modelnet10".
        xyz: (M, P, 3) float32, z up where the source's up axis is known, points in random order.
        label: (M,) int64, indexes ``classes``; -1 where there is none.
        classes: class names.
        split: (M,) uint8, 0 train, 1 test.
        ids: identifier of each shape in its source.
        part_label: (M, P) unsigned, indexes ``part_names``; None when the set has no part labels.
        part_names: names of the parts.
        part_category: for each part the class it belongs to; empty when any class may have any part.
    """

    name: str
    xyz: FloatArray
    label: Labels
    classes: tuple[str, ...]
    split: npt.NDArray[np.uint8]
    ids: tuple[str, ...]
    part_label: npt.NDArray[np.unsignedinteger[Any]] | None = None
    part_names: tuple[str, ...] = ()
    part_category: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.xyz)

    def part(self, split: int) -> ShapeSet:
        """The shapes of one side of the split."""
        return self.where(self.split == split)

    def first(self, count: int) -> ShapeSet:
        """The first ``count`` shapes."""
        return self.where(np.arange(len(self)) < count)

    def spread(self, count: int) -> ShapeSet:
        """At most ``count`` shapes, evenly spread over the set, and so over classes that it is sorted by."""
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[np.arange(count) * len(self) // count] = True
        return self if count >= len(self) else self.where(chosen)

    def where(self, mask: npt.NDArray[np.bool_]) -> ShapeSet:
        """The shapes for which ``mask`` (M,) holds."""
        return replace(
            self,
            xyz=self.xyz[mask],
            label=self.label[mask],
            split=self.split[mask],
            ids=tuple(name for name, keep in zip(self.ids, mask, strict=True) if keep),
            part_label=None if self.part_label is None else self.part_label[mask],
        )


def data_digest(sets: Sequence[ShapeSet]) -> str:
    """SHA-256 of all that training on ``sets``, or judging by them, depends on.

    Of points, labels, classes, the split, and parts; not of the names of sets and shapes.
    """
    digest = hashlib.sha256()
    for shapes in sets:
        parts = None if shapes.part_label is None else (shapes.part_names, shapes.part_category)
        digest.update(repr((shapes.xyz.shape, shapes.classes, parts)).encode())
        arrays = [shapes.xyz, shapes.label.astype(np.int64), shapes.split.astype(np.uint8)]
        for array in arrays if shapes.part_label is None else [*arrays, shapes.part_label]:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def z_up(xyz: FloatArray, up: str) -> FloatArray:
    """Points (..., 3) with the axis ``up`` ("y" or "z") turned to +z."""
    return np.stack([xyz[..., 0], -xyz[..., 2], xyz[..., 1]], axis=-1) if up == "y" else xyz


def turned(xyz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Clouds (M, P, 3), each turned about z by a random angle of its own."""
    angles = rng.uniform(0, 2 * np.pi, len(xyz))
    cos, sin, zero, one = np.cos(angles), np.sin(angles), np.zeros(len(xyz)), np.ones(len(xyz))
    turns = np.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], axis=-1).reshape(-1, 3, 3)
    return np.asarray(xyz @ turns, dtype=np.float32)


def draw(
    xyz: npt.NDArray[np.floating], points: int, rng: np.random.Generator
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """``points`` points of a cloud (N, 3) in random order, centred, largest radius 1.

    A cloud of fewer points repeats some of them at the end.

    Returns:
        (points, 3) float32, and the (points,) indices drawn.
    """
    order = rng.permutation(len(xyz))
    if len(xyz) < points:
        order = np.concatenate([order, rng.integers(len(xyz), size=points - len(xyz))])
    index = order[:points]
    return normalise(np.asarray(xyz[index], dtype=np.float32)), index
