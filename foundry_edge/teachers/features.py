"""A teacher that is known by its output alone: per-point features in files, one for each scan.

Any foundation model can teach this way, however large: it runs once, anywhere, and leaves
``<name of the scan>.npz`` with ``xyz`` (n, 3), in the coordinates of the scan, and ``features`` (n, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundry_edge.data.archive import BROKEN, read_archive, reason_of
from foundry_edge_runtime.errors import DataError, InputError
from foundry_edge_runtime.grouping import nearest_neighbours
from foundry_edge_runtime.interpolation import NEIGHBOURS, inverse_distance
from foundry_edge_runtime.pointcloud import DoubleArray, FloatArray
from foundry_edge_runtime.readers import find_scans

FAR = 0.25
"""Largest distance from a group centre to the features, as a share of the scan's radius ..."""
NEAR, NEAR_SPARSE, DENSE = 0.9, 0.5, 4
"""... that this share of the centres must keep; the lower one below this many featured points a centre."""
FLOAT32 = float(np.finfo(np.float32).max)
_REMEDY = "save xyz (n, 3) and features (n, D), numbers, with numpy.savez; see docs/teachers.md"


@dataclass(frozen=True)
class Pair:
    """A scan and the file with its features."""

    scan: Path
    features: Path


@dataclass(frozen=True)
class PointFeatures:
    """What a teacher says of the points of one scan.

    Attributes:
        xyz: (n, 3) float64, in the coordinates of the scan's file.
        features: (n, D) float32, finite.
    """

    xyz: DoubleArray
    features: FloatArray


def pair_scans(data: list[Path], folder: Path) -> list[Pair]:
    """Every scan below the folders ``data`` with its file of features.

    The file of ``data/a/b.ply`` is ``folder/a/b.npz`` or ``folder/a/b.ply.npz``.

    Raises:
        InputError: ``folder`` or one of ``data`` is no folder.
        DataError: there is no scan, or one has no file.
    """
    asked = [("--teacher-features", folder, "of .npz files"), *(("--data", p, "of scans") for p in data)]
    for flag, path, what in asked:
        if path.is_file():
            raise InputError(
                "is a file", where=f"{flag} {path}", remedy="with --teacher-features give a folder " + what
            )
        if not path.is_dir():
            raise InputError("no such folder", where=f"{flag} {path}", remedy="give a folder")
    pairs = [Pair(scan, _file_of(scan, root, folder)) for root in data for scan in find_scans(root)]
    if not pairs:
        raise DataError("no scan found", where=data[0] if data else "--data", remedy="give a folder of scans")
    return pairs


def _file_of(scan: Path, root: Path, folder: Path) -> Path:
    relative = scan.relative_to(root)
    for name in (relative.with_suffix(".npz"), relative.with_name(relative.name + ".npz")):
        if (folder / name).is_file():
            return folder / name
    raise DataError(
        f"no features of the scan {relative}",
        where=folder / relative.with_suffix(".npz"),
        remedy="write one .npz for each scan of --data",
    )


def read_features(path: Path) -> PointFeatures:
    """Read one file; the size that each array claims is checked before it is allocated.

    Raises:
        DataError: damaged, or an array is missing, of another shape, or not of finite numbers within float32;
            or the features of all points are the same.
    """
    try:
        arrays = read_archive(path, ("xyz", "features"))
    except BROKEN as error:
        raise DataError(f"no file of features ({reason_of(error)})", where=path, remedy=_REMEDY) from error
    lacking = [name for name in ("xyz", "features") if name not in arrays]
    if lacking:
        raise DataError(f"no file of features (it lacks {lacking[0]})", where=path, remedy=_REMEDY)
    xyz, features = arrays["xyz"], arrays["features"]
    if (
        xyz.ndim != 2
        or xyz.shape[1] != 3
        or features.ndim != 2
        or len(features) != len(xyz)
        or not features.size
    ):
        found = f"xyz {list(xyz.shape)} and features {list(features.shape)}"
        raise DataError(f"expected xyz (n, 3) and features (n, D), found {found}", where=path, remedy=_REMEDY)
    if not (np.isfinite(xyz).all() and np.isfinite(features).all()):
        raise DataError("xyz or features hold NaN or infinity", where=path, remedy="leave such points out")
    for name, values in (("xyz", xyz), ("features", features)):
        if max(abs(float(values.max())), abs(float(values.min()))) > FLOAT32:
            raise DataError(
                f"{name} exceed what float32 holds ({FLOAT32:.1e})", where=path, remedy="scale them"
            )
    result = PointFeatures(xyz.astype(np.float64), features.astype(np.float32))
    if len(result.features) > 1 and bool((result.features == result.features[0]).all()):
        raise DataError("the features of all points are the same", where=path, remedy="they teach nothing")
    return result


def interpolate(found: PointFeatures, places: DoubleArray, radius: float, where: Path) -> FloatArray:
    """Features (c, D) at ``places`` (c, 3): inverse-distance weights over the three nearest points.

    The weights are those of PointNet++ (eq. 2, p = 2).

    Args:
        found: features of the scan.
        places: float64, in the same coordinates.
        radius: of the scan, to tell features that belong elsewhere.
        where: the file, for the message.

    Raises:
        DataError: the features lie elsewhere (other coordinates, another scan), or cover a part of the scan.
    """
    middle = places.mean(axis=0)
    points, centers = (np.asarray(x - middle, dtype=np.float32) for x in (found.xyz, places))
    index = nearest_neighbours(points, centers, min(NEIGHBOURS, len(points)))
    square = ((points[index].astype(np.float64) - centers[:, None]) ** 2).sum(axis=2)
    least = NEAR if len(points) >= DENSE * len(centers) else NEAR_SPARSE
    if np.mean(np.sqrt(square[:, 0]) <= FAR * radius) < least:
        raise DataError(
            "the features do not lie where the scan does, or cover only a part of it",
            where=where,
            remedy="give points all over the scan, in the coordinates of its file",
        )
    weight = inverse_distance(square / max(radius, 1e-30) ** 2)
    return np.asarray((found.features[index] * weight[:, :, None]).sum(axis=1), dtype=np.float32)
