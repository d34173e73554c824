"""What every reader returns: points one can compute with, and what happened to the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Axis-aligned box in the coordinates of the file, float64."""

    min: tuple[float, float, float]
    max: tuple[float, float, float]


@dataclass(frozen=True)
class Header:
    """When, and in which frame, a ROS message saw its points (std_msgs/Header).

    Attributes:
        sec, nanosec: of the message's time stamp.
        frame_id: the coordinate frame of the points.
    """

    sec: int
    nanosec: int
    frame_id: str

    def as_json(self) -> dict[str, Any]:
        """As ROS writes it."""
        return {"stamp": {"sec": self.sec, "nanosec": self.nanosec}, "frame_id": self.frame_id}


@dataclass(frozen=True)
class PointCloud:
    """A validated point cloud.

    Coordinates are re-centred in float64 before the cast to float32 (policy P4), so that large
    UTM coordinates keep millimetres: the position of point i in the file is ``xyz[i] + origin``.

    Attributes:
        xyz: (N, 3) float32, relative to ``origin``, all finite, N >= 1.
        origin: (3,) float64, what was subtracted.
        bounds: box over the valid points, in the coordinates of the file.
        attributes: per-point arrays of length N (colour, intensity, normals, labels ...), dtypes kept.
        source: the name that was read, or "array".
        format: e.g. "pcd/binary_compressed", "ply/ascii", "array".
        fields: names of the fields found in the file, in file order.
        read: points in the file, before any was dropped.
        dropped: why points were dropped -> how many ("non_finite", "out_of_range").
        warnings: one line each, for people.
        header: of a ROS message, from a bag or a topic.
    """

    xyz: FloatArray
    origin: DoubleArray
    bounds: Bounds
    attributes: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    source: str = "array"
    format: str = "array"
    fields: tuple[str, ...] = ("x", "y", "z")
    read: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    header: Header | None = None

    def __len__(self) -> int:
        return len(self.xyz)
