"""Shapes as one camera sees them: the near side only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import FloatArray

CELL = 0.12
"""Pixel and depth tolerance of the z-buffer, in units of the shape's radius (about the point spacing)."""


def one_sided(xyz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The points of a shape visible from one random viewpoint, by an orthographic z-buffer.

    Cameras look from above the horizon more often than from below, as on robots. Removed points are
    replaced by jittered copies of visible ones, so that the count stays.

    Args:
        xyz: (P, 3) float32, in the unit ball, z up.
        rng: source of viewpoint and jitter.

    Returns:
        (P, 3) float32.
    """
    view = rng.normal(size=3)
    view[2] = abs(view[2]) if rng.random() < 0.8 else view[2]
    right, up, towards = _camera(view)
    pixel = np.floor((xyz @ np.stack([right, up], axis=1) + 2) / CELL).astype(np.int64)
    flat = pixel[:, 0] * 64 + pixel[:, 1]
    depth = xyz @ towards
    nearest = np.full(64 * 64, -np.inf)
    np.maximum.at(nearest, flat, depth)
    seen = xyz[depth > nearest[flat] - CELL]
    copies = seen[rng.integers(len(seen), size=len(xyz) - len(seen))]
    jitter = rng.normal(scale=CELL / 6, size=copies.shape).astype(np.float32)
    return np.concatenate([seen, copies + jitter]).astype(np.float32)


def _camera(view: npt.NDArray[np.float64]) -> tuple[FloatArray, FloatArray, FloatArray]:
    towards = view / np.linalg.norm(view)
    side = np.cross(towards, [0.0, 0.0, 1.0] if abs(towards[2]) < 0.9 else [1.0, 0.0, 0.0])
    right = side / np.linalg.norm(side)
    up = np.cross(right, towards)
    return right.astype(np.float32), up.astype(np.float32), towards.astype(np.float32)
