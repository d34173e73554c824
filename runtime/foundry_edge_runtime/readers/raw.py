"""What a format's reader is asked and what it answers; the shared policy turns it into a `PointCloud`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import Header

Column = npt.NDArray[np.generic]
IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Options:
    """How to read.

    Attributes:
        salvage: keep the whole points of a truncated file, with a warning (policy P1).
        columns: names of the columns of a headerless table ("_" skips one), as ``x,y,z,intensity``.
        topic: topic of a bag.
        vertices: of a mesh, take the vertices instead of sampling its surface.
        seed: seed of surface sampling.
        samples: points to sample on a mesh.
    """

    salvage: bool = False
    columns: tuple[str, ...] | None = None
    topic: str | None = None
    vertices: bool = False
    seed: int = 0
    samples: int = 8192


@dataclass
class RawCloud:
    """One scan as its file holds it, before any point is judged.

    Attributes:
        format: e.g. "pcd/ascii".
        fields: names as in the file, in file order.
        xyz: (N, 3) float32 or float64, in the coordinates of the file.
        attributes: per-point arrays of length N.
        faces: (M, 3) vertex indices of a mesh, None for a cloud.
        header: of a ROS message.
    """

    format: str
    fields: tuple[str, ...]
    xyz: npt.NDArray[np.floating]
    attributes: dict[str, Column] = field(default_factory=dict)
    faces: IndexArray | None = None
    header: Header | None = None


def stack_xyz(x: Column, y: Column, z: Column) -> npt.NDArray[np.floating]:
    """Three columns of any real dtype and byte order as (N, 3): float32 if all are, else float64.

    Columns are contiguous ("F" order), which makes bounds a hundred times faster to find.
    """
    single = all(c.dtype.newbyteorder("=") == np.float32 for c in (x, y, z))
    xyz: npt.NDArray[np.floating] = np.empty((len(x), 3), np.float32 if single else np.float64, order="F")
    for axis, column in enumerate((x, y, z)):
        xyz[:, axis] = column
    return xyz


def native(column: Column) -> Column:
    """A contiguous copy in the byte order of this machine."""
    return np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))
