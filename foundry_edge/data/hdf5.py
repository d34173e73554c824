"""Arrays of HDF5 files, the form in which several benchmarks are published."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from foundry_edge.data.archive import BROKEN, Array, reason_of
from foundry_edge.data.numbers import whole_numbers
from foundry_edge.data.shape_set import Labels
from foundry_edge_runtime.errors import DataError, MissingExtraError
from foundry_edge_runtime.pointcloud import FloatArray

_MAX_RATIO = 50
"""Largest expansion of a file that is not small; point data compress by less than 20."""
_SMALL = 16 << 20


def read_arrays(path: Path, names: tuple[str, ...], source: str) -> dict[str, Array]:
    """The datasets ``names`` of an HDF5 file; all have the same length.

    Args:
        path: the file.
        names: of its datasets; the first is the points, (M, P, 3), which come back as float32.
        source: where the data set is to be had.

    Raises:
        DataError: the file is missing, damaged, or lacks one of them, or a point is not finite.
        MissingExtraError: h5py is not installed.
    """
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise MissingExtraError("h5py", "train", "reading HDF5 data sets") from None
    if not path.exists():
        raise DataError("no such file", where=path, remedy=f"get it from {source}")
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = {name: np.asarray(_own(h5py, file, name)) for name in names}
    except BROKEN as error:
        raise DataError(
            f"not an HDF5 file with the datasets {', '.join(names)} ({reason_of(error)})",
            where=path,
            remedy=f"get it from {source}",
        ) from error
    _check(found, names, path, source)
    return found


def integers(found: Array, name: str, shape: tuple[int, ...], count: int, path: Path, source: str) -> Labels:
    """A dataset as int64, numbers from 0 to ``count`` - 1.

    Args:
        found: as ``path`` has it.
        name: of the dataset.
        shape: expected; one more axis of length 1 is left out.
        count: of classes or parts.
        path: the file.
        source: where the data set is to be had.

    Raises:
        DataError: it is something else.
    """
    flat = found[..., 0] if found.shape == (*shape, 1) else found
    try:
        return whole_numbers(flat, name, shape, 0, count - 1)
    except ValueError as error:
        raise DataError(str(error), where=path, remedy=f"get it from {source}") from error


def joined(points: list[FloatArray], files: list[Path], source: str) -> FloatArray:
    """The clouds (M, P, 3) of several files, one after the other.

    Raises:
        DataError: they have not all the same number of points.
    """
    count = points[0].shape[1]
    for xyz, file in zip(points, files, strict=True):
        if xyz.shape[1] != count:
            problem = f"'data' has {xyz.shape[1]} points a shape, but that of {files[0].name} has {count}"
            raise DataError(problem, where=file, remedy=f"get it from {source}")
    return np.concatenate(points)


def _own(h5py: Any, file: Any, name: str) -> Any:
    """A dataset stored in this file: no other file is opened because this one names it."""
    dataset = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise ValueError(f"{name!r} is not stored as a dataset in the file itself")
    if dataset.nbytes > max(_SMALL, _MAX_RATIO * Path(file.filename).stat().st_size):
        raise ValueError(f"{name!r} claims the shape {dataset.shape}, which the file cannot hold")
    return dataset


def _check(found: dict[str, Array], names: tuple[str, ...], path: Path, source: str) -> None:
    points = found[names[0]]
    if points.ndim != 3 or points.shape[2] != 3 or not points.size or points.dtype.kind != "f":
        problem = f"{names[0]!r} is {points.dtype} {points.shape}, expected floats (M, P, 3), none of them 0"
        raise DataError(problem, where=path, remedy=f"get it from {source}")
    for name in names[1:]:
        if found[name].shape[:1] != points.shape[:1]:
            problem = f"{name!r} is {found[name].shape}, {names[0]!r} is {points.shape}"
            raise DataError(problem, where=path, remedy=f"get it from {source}")
    with np.errstate(over="ignore"):
        found[names[0]] = points = points.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))
    if len(bad):
        problem = f"{names[0]!r} holds NaN or infinity in shape {bad[0]}"
        raise DataError(problem, where=path, remedy=f"get it from {source}")
