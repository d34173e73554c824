"""Points on the surface of a mesh, uniformly by area."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.policy import MAX_COORDINATE
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import Source


def sample_surface(source: Source, raw: RawCloud, options: Options) -> None:
    """Replace the vertices of a mesh by ``options.samples`` points on its triangles, in place.

    Triangles are drawn with probability proportional to their area, points uniformly within each
    (square-root barycentric coordinates; Osada et al., "Shape distributions", 2002, eq. 1).

    Raises:
        ScanError: no triangle has an area.
    """
    if raw.faces is None or not len(raw.faces):
        return
    corners = raw.xyz.astype(np.float64)[raw.faces]
    usable = (np.abs(corners) <= MAX_COORDINATE).all(axis=(1, 2))  # False for NaN
    corners = corners[usable]
    areas = _areas(corners)
    total = float(areas.sum())
    if not total > 0:
        raise source.error(
            f"none of the {len(raw.faces)} triangles has an area to sample",
            "pass --vertices to take the vertices",
        )
    raw.xyz = _draw(corners, areas / total, options)
    raw.attributes = {}
    source.warn(
        f"mesh: {options.samples} points sampled uniformly by area on {len(raw.faces)} triangles "
        f"(seed {options.seed}); --vertices takes the vertices"
    )


def _areas(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths: npt.NDArray[np.float64] = np.linalg.norm(cross, axis=1)
    return lengths


def _draw(
    corners: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], options: Options
) -> npt.NDArray[np.float64]:
    generator = np.random.default_rng(options.seed)
    chosen = corners[generator.choice(len(corners), options.samples, p=weights)]
    root, second = np.sqrt(generator.random(options.samples)), generator.random(options.samples)
    mix = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    points: npt.NDArray[np.float64] = np.einsum("nc,ncd->nd", mix, chosen)
    return points
