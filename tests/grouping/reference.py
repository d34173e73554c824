"""FPS and neighbours spelt out point by point, in float32 with one rounding per operation or in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


def squared(xyz: Array, point: Array) -> Array:
    """Squared distances (N,) in the type of ``xyz``."""
    dx, dy, dz = (xyz - point).T
    out: Array = (dx * dx + dy * dy) + dz * dz
    return out


def start(xyz: Array) -> int:
    """The first point farthest from the mean, which is rounded to the type of ``xyz``."""
    return int(np.argmax(squared(xyz, xyz.mean(axis=0, dtype=np.float64).astype(xyz.dtype))))


def sample(xyz: Array, count: int) -> list[int]:
    """Farthest point sampling by its definition: all distances to all samples, every time."""
    chosen = [start(xyz)]
    while len(chosen) < count:
        nearest = np.min([squared(xyz, xyz[i]) for i in chosen], axis=0)
        chosen.append(int(np.argmax(nearest)))
    return chosen


def neighbours(xyz: Array, centres: list[int], k: int) -> list[list[int]]:
    """The k nearest by a stable sort of all distances."""
    return [np.argsort(squared(xyz, xyz[i]), kind="stable")[:k].tolist() for i in centres]
