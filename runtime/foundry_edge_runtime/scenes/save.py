"""`run --scene --save`: what was computed for a scene, in one npz file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.scenes.result import SceneResult

SUFFIX = ".scene.npz"
"""What the file of a scene ends in: that of an object in the same scan is another."""


def save_scene(result: SceneResult, path: Path, *, per_point: bool = False) -> SceneResult:
    """Write ``tokens`` (c, d), ``centers`` (c, 3), ``global`` (2d,) and ``supertoken`` (c,) atomically.

    Floats are float32, ``supertoken`` is int32. ``centers`` are in the unit ball: a centre x lies at
    ``x * radius + centre + origin`` in the coordinates of the file, all of which are stored as float64. With
    ``per_point`` the features and colours of every point are written beside it (`save_scene_points`).

    Returns:
        The result, with ``saved`` and ``points`` set.

    Raises:
        StorageError: the disk is full or the folder cannot be written; an older file is left as it was.
    """
    arrays: dict[str, Any] = {
        "tokens": result.tokens,
        "centers": result.centers,
        "global": result.pooled,
        "supertoken": result.supertoken.astype(np.int32),
        "centre": np.asarray(result.frame.centre),
        "radius": np.float64(result.frame.radius),
        "origin": result.cloud.origin,
    }
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)
    if not per_point:
        return replace(result, saved=path)
    from foundry_edge_runtime.scenes.points import save_scene_points  # noqa: PLC0415 - rarely needed

    return replace(result, saved=path, points=save_scene_points(result, path))
