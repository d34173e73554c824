"""Clouds on which tie rules and rounding matter, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foundry_edge_runtime.pointcloud import FloatArray

MAKERS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "random": lambda rng, n: rng.normal(size=(n, 3)),
    "surface": lambda rng, n: rng.normal(size=(n, 3)) * (1, 1, 0.01),
    "duplicated": lambda rng, n: rng.normal(size=(max(1, n // 7), 3))[rng.integers(0, max(1, n // 7), n)],
    "collinear": lambda rng, n: np.linspace(-1, 1, n)[:, None] * (1, 2, 3),
    "tied": lambda rng, n: rng.integers(0, 9, (n, 3)),
    "one place": lambda rng, n: np.full((n, 3), 0.25),
    "underflowing": lambda rng, n: rng.normal(size=(n, 3)) * 1e-25,
    "far away": lambda rng, n: rng.normal((4e5, 5e6, 100), size=(n, 3)),
    "outlier": lambda rng, n: np.concatenate([rng.normal(size=(n - 1, 3)) * 0.01, [[1e3, 0, 0]]]),
}


def cloud(kind: str, count: int, seed: int = 0) -> FloatArray:
    """A cloud (N, 3) float32 of a kind named in `MAKERS`."""
    return MAKERS[kind](np.random.default_rng(seed), count).astype(np.float32)
