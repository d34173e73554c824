"""A point order that depends on the points alone.

Everything downstream (subsampling, FPS ties, summation order) works on the canonical order, so a
permutation of the input changes nothing, to the bit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import FloatArray

_BITS = 21  # per axis: 63 bits in all
_CHUNK = 1 << 15  # points whose codes are worked out at once: in the cache, and in little memory


def _spread(x: npt.NDArray[np.uint64]) -> None:
    """Put two zero bits between the 21 low bits of each number, in place."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x |= x << np.uint64(shift)
        x &= np.uint64(mask)


def morton_codes(xyz: FloatArray) -> npt.NDArray[np.uint64]:
    """Z-order code of each point on a 2^21 grid over the bounding box.

    Args:
        xyz: (N, 3) float32, finite.

    Returns:
        (N,) uint64.
    """
    axes = np.ascontiguousarray(xyz.T)
    low = axes.min(axis=1)
    extent = max(float((axes.max(axis=1) - low).max()), float(np.finfo(np.float32).tiny))
    codes = np.empty(len(xyz), dtype=np.uint64)
    for first in range(0, len(xyz), _CHUNK):
        part = slice(first, first + _CHUNK)
        codes[part] = _codes(axes[:, part], low, (2**_BITS - 1) / extent)
    return codes


def _codes(axes: FloatArray, low: FloatArray, scale: float) -> npt.NDArray[np.uint64]:
    cells = axes.astype(np.float64, order="C")
    cells -= low[:, None]
    cells *= scale
    grid = cells.astype(np.uint64)
    _spread(grid)
    grid <<= np.arange(3, dtype=np.uint64)[:, None]
    codes: npt.NDArray[np.uint64] = grid[0] | grid[1] | grid[2]
    return codes


def canonical_order(xyz: FloatArray) -> npt.NDArray[np.int64]:
    """Indices that sort points along the Z-order curve, ties by x, y, z.

    Args:
        xyz: (N, 3) float32, finite.

    Returns:
        (N,) int64 permutation; ``xyz[order]`` is the same array for every permutation of ``xyz``.
    """
    codes = morton_codes(xyz)
    order = np.argsort(codes)
    ranked = codes[order]
    if np.any(ranked[1:] == ranked[:-1]):
        order = np.lexsort((xyz[:, 2], xyz[:, 1], xyz[:, 0], codes))
    return order
