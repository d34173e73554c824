"""Features of every point of a scene, and their colours, written a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.interpolation import NEIGHBOURS, inverse_distance
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.saved import PLY_HEAD, POINTS_NPY, POINTS_PLY
from foundry_edge_runtime.scenes.nearest import NearestCentres, Numbers
from foundry_edge_runtime.scenes.result import SceneResult

BLOCK = 1 << 13
_SEARCHED = 1 << 17  # points whose centres are searched together: neighbours share candidates
_TYPES = {"f8": "double", "f4": "float", "u1": "uchar", "i4": "int"}
_CUT = (2.0, 98.0)  # percentiles that become 0 and 255


class ScenePoints:
    """How the points of a scene are made of its groups: from the three nearest centres, as in PointNet++.

    Inverse-distance weights with the squared distance (Qi et al. 2017, section 3.4, equation 2). Both arrays
    hold 24 bytes for each point; features are made a block at a time.

    Attributes:
        nearest: (N, 3) int32, the nearest centres, nearest first (fewer columns where c < 3).
        weights: (N, 3) float32, rows sum to 1.
    """

    def __init__(self, result: SceneResult) -> None:
        index = NearestCentres(result.centers, NEIGHBOURS)
        total = len(result.cloud)
        self.nearest: Numbers = np.empty((total, index.k), dtype=np.int32)
        self.weights: FloatArray = np.empty((total, index.k), dtype=np.float32)
        for rows in _blocks(total, _SEARCHED):
            self.nearest[rows], distances = index.of(result.frame.apply(result.cloud.xyz[rows]))
            self.weights[rows] = inverse_distance(distances)

    def blocks(self, values: npt.NDArray[np.floating]) -> Iterator[tuple[slice, FloatArray]]:
        """Values of the groups (c, m) as values of the points, a block (n, m) float32 at a time."""
        for rows in _blocks(len(self.nearest)):
            block = self.weights[rows, 0, None] * values[self.nearest[rows, 0]]
            for column in range(1, self.nearest.shape[1]):
                block += self.weights[rows, column, None] * values[self.nearest[rows, column]]
            yield rows, block.astype(np.float32, copy=False)


def save_scene_points(result: SceneResult, path: Path) -> Path:
    """Write two files for the points of a scene, both atomically and in bounded memory.

    ``path`` with .points.npy for .npz: (N, d) float32 features, in the order of the file's valid points. With
    .points.ply: x, y, z in the coordinates of the file, red, green, blue from the first three principal
    components of the groups' features, the number of the nearest group, and that group's SuperToken.

    Returns:
        The PLY file.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    points = ScenePoints(result)
    with replacing(path.with_suffix(POINTS_NPY)) as partial, partial.open("wb") as stream:
        shape = (len(result.cloud), result.tokens.shape[1])
        head = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, head)
        for _, block in points.blocks(result.tokens):
            stream.write(block.astype("<f4", copy=False).tobytes())
    ply = path.with_suffix(POINTS_PLY)
    with replacing(ply) as partial, partial.open("wb") as stream:
        _write_ply(result, points, stream)
    return ply


def _write_ply(result: SceneResult, points: ScenePoints, stream: BinaryIO) -> None:
    """Binary little-endian PLY (format 1.0)."""
    real = "f8" if np.any(result.cloud.origin) else "f4"
    fields = [(axis, f"<{real}") for axis in "xyz"]
    fields += [(name, "|u1") for name in ("red", "green", "blue")]
    fields += [("group", "<i4"), ("supertoken", "<i4")]
    properties = [f"property {_TYPES[kind[1:]]} {name}" for name, kind in fields]
    header = [*PLY_HEAD, f"element vertex {len(result.cloud)}", *properties, "end_header\n"]
    stream.write("\n".join(header).encode("ascii"))
    low, span, projected = _stretch(result.tokens)
    for rows, values in points.blocks(projected):
        table = np.empty(len(values), dtype=fields)
        for axis, name in enumerate("xyz"):
            table[name] = result.cloud.xyz[rows, axis] + result.cloud.origin[axis]
        colours = (np.clip((values - low) / span, 0, 1) * 255).round()
        for column, name in enumerate(("red", "green", "blue")):
            table[name] = colours[:, column]
        table["group"] = points.nearest[rows, 0]
        table["supertoken"] = result.supertoken[points.nearest[rows, 0]]
        stream.write(table.tobytes())


def _stretch(tokens: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """First three principal components (c, 3) of the groups' features, their low end and their span (3,)."""
    centred = tokens - tokens.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64)
    vectors = np.linalg.eigh(covariance)[1][:, ::-1][:, :3]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    projected = np.zeros((len(tokens), 3), dtype=np.float32)
    projected[:, : vectors.shape[1]] = centred @ (vectors * np.sign(largest)).astype(np.float32)
    low, high = np.percentile(projected, _CUT, axis=0).astype(np.float32)
    return low, np.where(high > low, high - low, np.float32(1)), projected


def _blocks(total: int, size: int = BLOCK) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
