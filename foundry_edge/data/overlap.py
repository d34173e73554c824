"""Shapes that two data sets share: exact copies by hash, near-copies by a screen.

The screen has two steps. Rotation-free descriptors (quantiles of the radii and of point distances) propose
the nearest candidates; a candidate is confirmed when, under one of the 24 turns that map axes to axes, the
two clouds are no farther from each other than independent samples of one surface are. It cannot tell plain
boxes, rods and balls apart, and it does not see copies turned by other angles or of another extent.
"""

from __future__ import annotations

import hashlib
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping import normalise
from foundry_edge_runtime.pointcloud import FloatArray

QUANTILES = 32
OFFSETS = (1, 3, 7, 17, 41, 97, 201, 333)
CANDIDATES = 2
NEAR_DESCRIPTOR = 0.025
"""Mean difference of descriptors; samples of 1024 points of one shape differ by 0.013, one in ten by 0.02."""
COMPARED = 256
"""Points of each cloud that the second step compares."""
SAME_SURFACE = 1.1
"""Distance between two clouds in units of their own point spacing. Of two samples of one shape it is 0.9 to
1.1 in nine cases of ten (60 shapes of each of three sets, halves of 2048 points); of the nearest other shapes
of a set it is below 1.1 in one of ten or fewer: boxes, rods, balls."""
SAME_EXTENT = 0.1
"""Turns are tried when the deviations along the axes agree within this, of a radius of 1."""

SCREEN = f"{QUANTILES} {OFFSETS} {CANDIDATES} {NEAR_DESCRIPTOR} {COMPARED} {SAME_SURFACE} {SAME_EXTENT}"
"""Names the screen with its settings, for caches of what it found."""

Array = npt.NDArray[np.float32]


def geometry_hash(xyz: FloatArray) -> bytes:
    """SHA-256 of a cloud (P, 3), whatever the order of its points."""
    return hashlib.sha256(np.sort(xyz, axis=0).tobytes()).digest()


def descriptors(xyz: FloatArray) -> Array:
    """Rotation-free descriptors (M, 64) of clouds (M, P, 3) whose points are in random order."""
    return np.stack([_descriptor(cloud[:1024]) for cloud in xyz]).astype(np.float32)


def _descriptor(cloud: FloatArray) -> Array:
    centred = cloud - cloud.mean(axis=0)
    radii = np.linalg.norm(centred, axis=1)
    levels = np.linspace(0.02, 0.98, QUANTILES)
    steps = [offset % len(cloud) or 1 for offset in OFFSETS]
    lengths = np.concatenate([np.linalg.norm(cloud - np.roll(cloud, k, axis=0), axis=1) for k in steps])
    both = np.concatenate([np.quantile(radii, levels), np.quantile(lengths, levels)])
    return np.asarray(both / max(float(np.sqrt((radii**2).mean())), 1e-9), dtype=np.float32)


def near_copies(shapes: FloatArray, others: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of ``shapes`` (M, P, 3) have, by the screen, a copy among ``others`` (L, Q, 3).

    Returns:
        (M,) bool.
    """
    found = np.zeros(len(shapes), dtype=np.bool_)
    if not (len(shapes) and len(others)):
        return found
    mine, theirs = descriptors(shapes), descriptors(others)
    for row, code in enumerate(theirs):
        distance = np.abs(mine - code).mean(axis=1)
        nearest = np.argsort(distance)[:CANDIDATES]
        for candidate in nearest[distance[nearest] < NEAR_DESCRIPTOR]:
            if not found[candidate]:
                found[candidate] = surface_ratio(shapes[candidate], others[row]) < SAME_SURFACE
    return found


def surface_ratio(one: FloatArray, other: FloatArray) -> float:
    """How far two clouds are apart in units of their point spacing, under the best turn of the axes.

    Both are centred and scaled to one root mean square radius first. Two independent samples of one
    surface have a ratio near 1, other surfaces a larger one; infinity when no turn makes the extents agree.
    """
    a, b = (_unit(cloud)[:COMPARED] for cloud in (one, other))
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    spacing = (_spacing(a) + _spacing(b)) / 2
    extents = a.std(axis=0)
    fitting = [b @ turn for turn in _TURNS if np.abs((b @ turn).std(axis=0) - extents).max() < SAME_EXTENT]
    return min((_apart(a, turned) for turned in fitting), default=np.inf) / max(spacing, 1e-9)


def _unit(cloud: FloatArray) -> Array:
    centred = normalise(cloud)
    return np.asarray(centred / max(float(np.sqrt((centred**2).sum(axis=1).mean())), 1e-9), dtype=np.float32)


def _squares(a: Array, b: Array) -> Array:
    inner = a @ b.T
    out = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * inner
    return np.asarray(np.maximum(out, 0), dtype=np.float32)


def _spacing(a: Array) -> float:
    squares = _squares(a, a)
    np.fill_diagonal(squares, np.inf)
    return float(np.sqrt(squares.min(axis=1)).mean())


def _apart(a: Array, b: Array) -> float:
    squares = _squares(a, b)
    return float(np.sqrt(squares.min(axis=1)).mean() + np.sqrt(squares.min(axis=0)).mean()) / 2


def _axis_turns() -> list[Array]:
    turns = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3), dtype=np.float32)
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    return turns


_TURNS = _axis_turns()
