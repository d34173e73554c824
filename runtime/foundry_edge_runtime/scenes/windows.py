"""Windows: neighbouring groups that attend to each other where all-to-all attention would be quadratic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping.canonical import canonical_order
from foundry_edge_runtime.pointcloud import FloatArray

Indices = npt.NDArray[np.int64]


def windows(centers: FloatArray, most: int) -> list[Indices]:
    """Cut the groups into windows of at most ``most``, along the Z-order curve of their centres.

    The windows are as even as can be: their sizes differ by at most one, the larger ones come first. With
    ``most`` groups or fewer there is one window, and local mixing is the student's ordinary mixing.

    Args:
        centers: (c, 3) float32, c >= 1.
        most: W, groups in a window.

    Returns:
        ceil(c / W) arrays of indices into ``centers``; each index occurs once.
    """
    order = canonical_order(centers)
    return np.array_split(order, -(-len(order) // most))


def stacked(parts: list[Indices], most: int) -> Iterator[Indices]:
    """Windows of the same size side by side, (b, w) with b <= ``most``: what one call of the engine takes."""
    start = 0
    while start < len(parts):
        end = start + 1
        while end < min(start + most, len(parts)) and len(parts[end]) == len(parts[start]):
            end += 1
        yield np.stack(parts[start:end])
        start = end
