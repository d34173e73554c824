"""Shapes as one camera sees them: the near side only, often with a piece of the floor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import FloatArray

CELL = 0.12
"""Pixel and depth tolerance of the z-buffer, in units of the shape's radius (about the point spacing)."""
FLOOR_SHARE = 0.5
FLOOR_MARGIN = (0.02, 0.2)


def one_sided(xyz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """What one camera sees of a shape, from a random viewpoint, by an orthographic z-buffer.

    Cameras look from above the horizon more often than from below, as on robots, and half of those see a
    piece of the floor the shape stands on. Hidden points are replaced by jittered copies of visible ones, so
    that the count stays.

    Args:
        xyz: (P, 3) float32, in the unit ball, z up.
        rng: source of viewpoint, floor and jitter.

    Returns:
        (P, 3) float32.
    """
    return seen_points(xyz, rng)[0]


def seen_points(xyz: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """As `one_sided`, and for each point which of ``xyz`` it shows: (P,) int64, -1 for the floor."""
    view = rng.normal(size=3)
    from_above = rng.random() < 0.8
    view[2] = abs(view[2]) if from_above else view[2]
    standing = _on_floor(xyz, rng) if from_above and rng.random() < FLOOR_SHARE else xyz
    seen = np.flatnonzero(_visible(standing, view))
    if len(seen) >= len(xyz):
        source = seen[rng.choice(len(seen), len(xyz), replace=False)]
        points = standing[source]
    else:
        copied = seen[rng.integers(len(seen), size=len(xyz) - len(seen))]
        jitter = rng.normal(scale=CELL / 6, size=(len(copied), 3)).astype(np.float32)
        source = np.concatenate([seen, copied])
        points = np.concatenate([standing[seen], standing[copied] + jitter])
    return points, np.where(source < len(xyz), source, -1)


def _on_floor(xyz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The shape and floor points about as dense as its own, a margin around its footprint."""
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    margin = rng.uniform(*FLOOR_MARGIN)
    side = high[:2] - low[:2] + 2 * margin
    count = int(min(side[0] * side[1] / CELL**2, len(xyz) / 2)) + 1
    floor = np.full((count, 3), low[2], dtype=np.float32)
    floor[:, :2] = low[:2] - margin + rng.random((count, 2)) * side
    return np.concatenate([xyz, floor])


def _visible(xyz: FloatArray, view: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points (P, 3) lie within a cell of the nearest point of their pixel, seen from ``view``."""
    towards = view / np.linalg.norm(view)
    side = np.cross(towards, [0.0, 0.0, 1.0] if abs(towards[2]) < 0.9 else [1.0, 0.0, 0.0])
    right = side / np.linalg.norm(side)
    plane = np.stack([right, np.cross(right, towards)], axis=1)
    pixel = np.floor((xyz @ plane + 2) / CELL).astype(np.int64)
    flat = pixel[:, 0] * 64 + pixel[:, 1]
    depth = xyz @ towards
    nearest = np.full(64 * 64, -np.inf)
    np.maximum.at(nearest, flat, depth)
    return np.asarray(depth > nearest[flat] - CELL)
