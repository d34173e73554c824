"""Many small files as one array of points, kept in the cache because reading them takes minutes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from foundry_edge.data.array_cache import kept
from foundry_edge.data.shape_set import POINTS, draw
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.readers import read_points

SEED = 0


def rng_of(name: str) -> np.random.Generator:
    """Randomness that depends on the name of a shape alone, not on its place in a list."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode("utf-8", "surrogateescape"))])


def scan_points(path: Path, name: str, points: int = POINTS) -> FloatArray:
    """(points, 3) of one scan of any format; a mesh is sampled uniformly by area, seeded by ``name``.

    Raises:
        ScanError: it cannot be read.
    """
    rng = rng_of(name)
    return draw(read_points(path, seed=int(rng.integers(2**31))).xyz, points, rng)[0]


def stacked(paths: list[Path], make: Callable[[Path], FloatArray], recipe: str) -> FloatArray:
    """``make`` of every file, stacked; a copy is kept in the user's cache until a file changes.

    Args:
        paths: the files.
        make: gives one array; all have the same shape.
        recipe: what ``make`` does, part of the key of the cache.

    Returns:
        (M, ...) float32.
    """
    return kept("sets", _key(paths, recipe), lambda: np.stack([make(one) for one in paths]))


def _key(paths: list[Path], recipe: str) -> str:
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([recipe, stats]).encode()).hexdigest()[:24]
