"""The .npz form: that of the embedded sample set (docs/data.md lists its arrays)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge.data.archive import BROKEN, Array, claimed_shape, read_archive, reason_of
from foundry_edge.data.numbers import MOST, whole_numbers
from foundry_edge.data.shape_set import ShapeSet, z_up
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import replacing

_Y_UP = frozenset({"ldraw", "parts_ldraw", "furniture"})
"""Sets known to have +y up; their points are turned so that z is up, as in ModelNet."""

_STEPS = 32767
"""int16 steps from the centre of the unit ball to its surface."""

Arrays = dict[str, Array]


_ARRAYS = frozenset(
    {"points", "label", "classes", "split", "id", "up", "part", "part_names", "part_category"}
)
"""What is read; whatever else a file holds stays packed."""

_KINDS = "biufUS"
"""Kinds of dtype they may have: numbers and texts."""


def load_npz(path: str | Path) -> ShapeSet:
    """Read one .npz data set.

    Arrays: ``points`` int16 (M, P, 3) with xyz = points / 32767, and optionally ``label`` (M,),
    ``classes``, ``split`` (M,), ``id`` (M,), ``up`` ("y" or "z"), ``part`` (M, P) with ``part_names`` and
    ``part_category``.

    Raises:
        DataError: the file is missing or damaged, or an array is not of that form.
    """
    path = Path(path)
    try:
        found = read_archive(path, _ARRAYS, _KINDS)
        return _shape_set(path.stem, {name: _decoded(array) for name, array in found.items()})
    except FileNotFoundError:
        raise DataError(
            "no such data set", where=path, remedy="give an .npz file or a folder of them"
        ) from None
    except BROKEN as error:
        reason = f"not a data set of this form ({reason_of(error)})"
        raise DataError(reason, where=path, remedy="see docs/data.md for the arrays it must hold") from error


def is_set(path: Path) -> bool:
    """Whether an .npz file has the points of many shapes; one with the points of one shape is a scan."""
    try:
        return len(claimed_shape(path, "points")) == 3
    except BROKEN:
        return False


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
    points = data.get("points")
    if points is None:
        raise ValueError("it lacks 'points'")
    if points.dtype != np.int16 or points.ndim != 3 or points.shape[2] != 3 or not points.size:
        raise ValueError(
            f"'points' is {points.dtype} {points.shape}, expected int16 (M, P, 3), none of them 0"
        )
    count = len(points)
    up = str(data["up"]) if "up" in data else ("y" if name in _Y_UP else "z")
    if up not in ("y", "z"):
        raise ValueError(f"'up' is {up!r}, expected 'y' or 'z'")
    ids = data["id"] if "id" in data else np.arange(count)
    if ids.shape != (count,):
        raise ValueError(f"'id' is of shape {ids.shape}, expected ({count},)")
    label, classes = _labels(data, count)
    part_label, part_names = _parts(data)
    return ShapeSet(
        name=name,
        xyz=z_up(points.astype(np.float32) / np.float32(_STEPS), up),
        label=label,
        classes=classes,
        split=_integers(data, "split", count, 0, 0, 1).astype(np.uint8),
        ids=tuple(str(i) for i in ids),
        part_label=part_label,
        part_names=part_names,
        part_category=_part_category(data, len(part_names), len(classes)),
    )


def _decoded(array: Array) -> Array:
    """Texts that are kept as bytes as texts; any other array as it is."""
    return np.char.decode(array.astype(np.bytes_), "utf-8") if array.dtype.kind == "S" else array


def _labels(data: Arrays, count: int) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Labels (M,), and the names of their classes: numbers where the file names none."""
    classes = _names(data, "classes")
    if len(set(classes)) < len(classes):
        raise ValueError("'classes' holds a name twice")
    label = _integers(data, "label", count, -1, -1, len(classes) - 1 if classes else MOST)
    return label, classes or tuple(str(i) for i in range(int(label.max()) + 1))


def _part_category(data: Arrays, parts: int, classes: int) -> tuple[int, ...]:
    if not parts or "part_category" not in data or not data["part_category"].size:
        return ()
    if not classes:
        raise ValueError("'part_category' names classes, but there is neither 'classes' nor 'label'")
    return tuple(_integers(data, "part_category", parts, 0, 0, classes - 1).tolist())


def _names(data: Arrays, name: str) -> tuple[str, ...]:
    if name not in data:
        return ()
    if data[name].ndim != 1:
        raise ValueError(f"'{name}' is of shape {data[name].shape}, expected a list of names")
    return tuple(str(one) for one in data[name])


def _integers(
    data: Arrays, name: str, count: int, missing: int, low: int, high: int
) -> npt.NDArray[np.int64]:
    """The array ``name`` (count,) of whole numbers from ``low`` to ``high``, all ``missing`` if not there."""
    return whole_numbers(data.get(name, np.full(count, missing)), name, (count,), low, high)


def _parts(data: Arrays) -> tuple[npt.NDArray[np.unsignedinteger[Any]] | None, tuple[str, ...]]:
    if "part" not in data:
        return None, ()
    names = _names(data, "part_names")
    part = whole_numbers(data["part"], "part", data["points"].shape[:2], 0, len(names) - 1 if names else MOST)
    names = names or tuple(str(i) for i in range(int(part.max()) + 1))
    return part.astype(np.min_scalar_type(len(names) - 1)), names
