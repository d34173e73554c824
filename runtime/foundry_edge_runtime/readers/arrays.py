"""Arrays as point clouds, under the same policy as files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers.array_layout import cloud_of_array
from foundry_edge_runtime.readers.policy import finish
from foundry_edge_runtime.readers.source import from_bytes


def as_cloud(array: npt.ArrayLike, *, name: str = "array") -> PointCloud:
    """Wrap points that are already in memory.

    Args:
        array: (N, C >= 3) numbers, the first three columns x, y, z; further ones become attributes. Or a
            structured array with fields x, y and z.
        name: what to call it in messages.

    Returns:
        Points under the reading policy: non-finite and out-of-range ones dropped and counted, re-centred
        in float64 before the cast to float32.

    Raises:
        ScanError: another shape or dtype, or no valid point.
    """
    try:
        values = np.asarray(array)
    except ValueError as error:
        raise ScanError(f"not an array of numbers: {error}", where=name) from None
    source = from_bytes(b"", name)
    return finish(cloud_of_array(source, values, "array", None), source)
