"""The .npz form: that of the embedded sample set (docs/data.md lists its arrays)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge.data.shape_set import ShapeSet, z_up
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import replacing

_Y_UP = frozenset({"ldraw", "parts_ldraw", "furniture"})
"""Sets known to have +y up; their points are turned so that z is up, as in ModelNet."""

_STEPS = 32767
"""int16 steps from the centre of the unit ball to its surface."""

Arrays = dict[str, npt.NDArray[np.generic]]


_ARRAYS = frozenset(
    {"points", "label", "classes", "split", "id", "up", "part", "part_names", "part_category"}
)
"""What is read; whatever else a file holds stays packed."""


def load_npz(path: str | Path) -> ShapeSet:
    """Read one .npz data set.

    Arrays: ``points`` int16 (M, P, 3) with xyz = points / 32767, and optionally ``label`` (M,),
    ``classes``, ``split`` (M,), ``id`` (M,), ``up`` ("y" or "z"), ``part`` (M, P) with ``part_names`` and
    ``part_category``.

    Raises:
        DataError: the file is missing, damaged, or lacks ``points`` of that form.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            return _shape_set(path.stem, {name: data[name] for name in data.files if name in _ARRAYS})
    except FileNotFoundError:
        raise DataError(
            "no such data set", where=path, remedy="give an .npz file or a folder of them"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = f"not a data set of this form ({error})"
        raise DataError(reason, where=path, remedy="see docs/data.md for the arrays it must hold") from error


def save_npz(path: Path, shapes: ShapeSet) -> None:
    """Write a set so that `load_npz` reads it back, its points to 1/32767; at once or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    arrays: dict[str, Any] = {
        "points": np.rint(shapes.xyz * _STEPS).clip(-_STEPS, _STEPS).astype(np.int16),
        "label": shapes.label,
        "classes": np.array(shapes.classes, dtype=np.str_),
        "split": shapes.split,
        "id": np.array(shapes.ids, dtype=np.str_),
        "up": np.array("z"),
    }
    if shapes.part_label is not None:
        arrays["part"] = shapes.part_label
        arrays["part_names"] = np.array(shapes.part_names, dtype=np.str_)
        arrays["part_category"] = np.array(shapes.part_category, dtype=np.int64)
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)


def _shape_set(name: str, data: Arrays) -> ShapeSet:
    points = data["points"]
    if points.dtype != np.int16 or points.ndim != 3 or points.shape[2] != 3 or not len(points):
        raise ValueError(f"'points' is {points.dtype} {points.shape}, expected int16 (M, P, 3)")
    count = len(points)
    up = str(data["up"]) if "up" in data else ("y" if name in _Y_UP else "z")
    ids = data["id"] if "id" in data else np.arange(count)
    part_label, part_names = _parts(data)
    return ShapeSet(
        name=name,
        xyz=z_up(points.astype(np.float32) / np.float32(_STEPS), up),
        label=np.asarray(data.get("label", np.full(count, -1)), dtype=np.int64),
        classes=tuple(str(c) for c in data["classes"]) if "classes" in data else (),
        split=np.asarray(data.get("split", np.zeros(count)), dtype=np.uint8),
        ids=tuple(str(i) for i in ids),
        part_label=part_label,
        part_names=part_names,
        part_category=tuple(int(c) for c in data["part_category"]) if "part_category" in data else (),
    )


def _parts(data: Arrays) -> tuple[npt.NDArray[np.uint8] | None, tuple[str, ...]]:
    if "part" not in data:
        return None, ()
    part = data["part"]
    if part.shape != data["points"].shape[:2] or part.dtype.kind not in "iu":
        raise ValueError(f"'part' is {part.dtype} {part.shape}, expected integers {data['points'].shape[:2]}")
    low, high = int(part.min()), int(part.max())
    names = tuple(str(n) for n in data["part_names"]) if "part_names" in data else ()
    names = names or tuple(str(i) for i in range(high + 1))
    if low < 0 or high >= len(names):
        raise ValueError(f"'part' holds {low} to {high}, but there are {len(names)} part_names")
    return part.astype(np.uint8), names
