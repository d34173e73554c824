"""Synthetic scenes: several shapes on a floor, sometimes between walls.

The head needs to know what is not a single object; real scenes are too few to learn from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge.data.one_sided import one_sided
from foundry_edge_runtime.grouping import normalise
from foundry_edge_runtime.pointcloud import FloatArray

Half = npt.NDArray[np.float64]
SCENE = "scene"
OBJECTS = (2, 10)
HALF_SIDE = (1.5, 6.0)
WALL_HEIGHT = (1.0, 3.0)


def make_scenes(shapes: FloatArray, count: int, seed: int) -> FloatArray:
    """Compose scenes from shapes.

    Args:
        shapes: (M, P, 3) float32, in the unit ball, z up.
        count: number of scenes.
        seed: of all choices.

    Returns:
        (count, P, 3) float32 in the unit ball; half of them as one camera sees them.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_scene(shapes, rng) for _ in range(count)])


def _scene(shapes: FloatArray, rng: np.random.Generator) -> FloatArray:
    half = rng.uniform(*HALF_SIDE, size=2)
    parts = [_floor(half, rng), *_walls(half, rng)]
    for _ in range(rng.integers(*OBJECTS)):
        parts.append(_placed(shapes[rng.integers(len(shapes))], half, rng))
    scene = np.concatenate(parts)
    count = shapes.shape[1]
    drawn = normalise(scene[rng.choice(len(scene), count, replace=len(scene) < count)].astype(np.float32))
    return normalise(one_sided(drawn, rng)) if rng.random() < 0.5 else drawn


def _placed(shape: FloatArray, half: Half, rng: np.random.Generator) -> FloatArray:
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    sparse = shape[: int(len(shape) * rng.uniform(0.1, 1.0))]
    standing = (sparse - [0, 0, shape[:, 2].min()]) @ turn.T * rng.uniform(0.3, 1.0)
    standing[:, :2] += rng.uniform(-half, half)
    return np.asarray(standing, dtype=np.float32)


def _floor(half: Half, rng: np.random.Generator) -> FloatArray:
    count = int(half[0] * half[1] * rng.uniform(20, 120))
    xy = rng.uniform(-half, half, size=(count, 2))
    return np.concatenate([xy, rng.normal(scale=0.01, size=(count, 1))], axis=1).astype(np.float32)


def _walls(half: Half, rng: np.random.Generator) -> list[FloatArray]:
    height, density = rng.uniform(*WALL_HEIGHT), rng.uniform(20, 80)
    walls = []
    for axis, side in ((0, -1), (0, 1), (1, -1), (1, 1)):
        if rng.random() < 0.5:
            count = int(2 * half[1 - axis] * height * density)
            wall = np.empty((count, 3))
            wall[:, axis] = side * half[axis]
            wall[:, 1 - axis] = rng.uniform(-half[1 - axis], half[1 - axis], count)
            wall[:, 2] = rng.uniform(0, height, count)
            walls.append(wall.astype(np.float32))
    return walls
