"""Labelled shapes in the .npz form of the shipped sample set (and of ../shared/data)."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.pointcloud import FloatArray

TRAIN, TEST = 0, 1
_Y_UP = frozenset({"ldraw", "parts_ldraw", "furniture"})
"""Sets known to have +y up; their points are turned so that z is up, as in ModelNet."""


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
    """

    name: str
    xyz: FloatArray
    label: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    split: npt.NDArray[np.uint8]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.xyz)

    def part(self, split: int) -> ShapeSet:
        """The shapes of one side of the split."""
        return self.where(self.split == split)

    def first(self, count: int) -> ShapeSet:
        """The first ``count`` shapes."""
        return self.where(np.arange(len(self)) < count)

    def where(self, mask: npt.NDArray[np.bool_]) -> ShapeSet:
        """The shapes for which ``mask`` (M,) holds."""
        kept = tuple(name for name, keep in zip(self.ids, mask, strict=True) if keep)
        return ShapeSet(self.name, self.xyz[mask], self.label[mask], self.classes, self.split[mask], kept)


def load_npz(path: str | Path) -> ShapeSet:
    """Read one .npz data set.

    Arrays: ``points`` int16 (M, P, 3) with xyz = points / 32767, and optionally ``label`` (M,),
    ``classes``, ``split`` (M,), ``id`` (M,), ``up`` ("y" or "z").

    Raises:
        DataError: the file is missing, damaged, or lacks ``points`` of that form.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            return _shape_set(path.stem, dict(data))
    except FileNotFoundError:
        raise DataError(
            "no such data set", where=path, remedy="give an .npz file or a folder of them"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = f"not a data set of this form ({error})"
        raise DataError(reason, where=path, remedy="see docs/data.md for the arrays it must hold") from error


def _shape_set(name: str, data: dict[str, npt.NDArray[np.generic]]) -> ShapeSet:
    points = data["points"]
    if points.dtype != np.int16 or points.ndim != 3 or points.shape[2] != 3 or not len(points):
        raise ValueError(f"'points' is {points.dtype} {points.shape}, expected int16 (M, P, 3)")
    count = len(points)
    up = str(data["up"]) if "up" in data else ("y" if name in _Y_UP else "z")
    ids = data["id"] if "id" in data else np.arange(count)
    return ShapeSet(
        name=name,
        xyz=_z_up(points.astype(np.float32) / np.float32(32767), up),
        label=np.asarray(data.get("label", np.full(count, -1)), dtype=np.int64),
        classes=tuple(str(c) for c in data["classes"]) if "classes" in data else (),
        split=np.asarray(data.get("split", np.zeros(count)), dtype=np.uint8),
        ids=tuple(str(i) for i in ids),
    )


def _z_up(xyz: npt.NDArray[np.float32], up: str) -> FloatArray:
    return np.stack([xyz[..., 0], -xyz[..., 2], xyz[..., 1]], axis=-1) if up == "y" else xyz


def load_sets(sources: list[Path]) -> list[ShapeSet]:
    """Read every .npz file named, and every .npz file of every folder named, in sorted order.

    Raises:
        DataError: a source does not exist or holds no data set.
    """
    paths: list[Path] = []
    for source in sources:
        found = sorted(source.glob("*.npz")) if source.is_dir() else [source]
        if not found:
            raise DataError("the folder holds no .npz data set", where=source, remedy="see docs/data.md")
        paths += found
    return [load_npz(path) for path in paths]
