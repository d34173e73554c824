"""From any number of points to the N points of the model's input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import DoubleArray, FloatArray


def stratified_indices(count: int, wanted: int) -> npt.NDArray[np.int64]:
    """``wanted`` evenly spaced indices into ``count`` canonically ordered points.

    On the Z-order curve even spacing is a spatially stratified sample. When there are fewer points
    than wanted, points repeat evenly.
    """
    return (np.arange(wanted, dtype=np.int64) * count + count // 2) // wanted


def centre_and_radius(xyz: FloatArray) -> tuple[DoubleArray, float]:
    """The mean of points (N, 3) and the largest distance from it, in float64; 0 when all points coincide."""
    centre: DoubleArray = xyz.mean(axis=0, dtype=np.float64)
    return centre, _radius(xyz - centre)


def _radius(offset: DoubleArray) -> float:
    square = offset * offset
    return float(np.sqrt(((square[:, 0] + square[:, 1]) + square[:, 2]).max()))


def normalise(xyz: FloatArray) -> FloatArray:
    """Centre on the mean and scale the largest norm to 1 (Point-JEPA's input normalisation).

    Args:
        xyz: (N, 3) float32.

    Returns:
        (N, 3) float32 in the unit ball; all zeros when all points coincide.
    """
    offset: DoubleArray = xyz - xyz.mean(axis=0, dtype=np.float64)
    radius = _radius(offset)
    if radius > 0:
        offset /= radius
    return offset.astype(np.float32)


def farthest_from_centroid(xyz: FloatArray) -> int:
    """Where FPS starts: the point of (N, 3) farthest from the mean, the lowest index of those.

    The official Point-JEPA code starts at a random point even at inference; this rule depends on the
    points alone.
    """
    offset = xyz - xyz.mean(axis=0, dtype=np.float64).astype(np.float32)
    offset *= offset
    return int(((offset[:, 0] + offset[:, 1]) + offset[:, 2]).argmax())


def farthest_points(xyz: FloatArray, count: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Farthest point sampling that starts at the point farthest from the centroid.

    Ties go to the lowest index, so canonically ordered input makes it order-free.

    Args:
        xyz: (N, 3) float32.
        count: number of samples c; beyond N the choice repeats (all distances are then zero).

    Returns:
        (c,) int64 indices, and the squared distances (c, N) from each of them, float32.
    """
    points = np.ascontiguousarray(xyz.T)
    chosen = np.empty(count, dtype=np.int64)
    distances = np.empty((count, len(xyz)), dtype=np.float32)
    nearest = np.full(len(xyz), np.inf, dtype=np.float32)
    delta = np.empty_like(points)
    farthest = farthest_from_centroid(xyz)
    for i, row in enumerate(distances):
        chosen[i] = farthest
        np.subtract(points, points[:, farthest, None], out=delta)
        np.multiply(delta, delta, out=delta)
        np.add(delta[0], delta[1], out=row)
        np.add(row, delta[2], out=row)
        np.minimum(nearest, row, out=nearest)
        farthest = int(nearest.argmax())
    return chosen, distances
