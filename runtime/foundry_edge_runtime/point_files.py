"""`--per-point`: the features of every point as npy, and the coloured points as PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundry_edge_runtime.colours import feature_colours
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.interpolation import Interpolation, interpolation
from foundry_edge_runtime.result import Result

_TYPES = {"f": "float", "d": "double"}


def save_points(result: Result, path: Path) -> Path:
    """Write two files for the points of a scan, both atomically.

    ``path`` with .points.ply for .npz: x, y, z in the coordinates of the file (float; double where the cloud
    was re-centred), red, green, blue from the first three principal components, and the number of the nearest
    group. With .points.npy: (N, d) float32, the features in the same order.

    Args:
        result: what was computed.
        path: where the features of the scan go.

    Returns:
        The PLY file.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    points = interpolation(result)
    _write_features(result, points, path.with_suffix(".points.npy"))
    ply = path.with_suffix(".points.ply")
    write_ply(result, points, ply)
    return ply


def write_ply(result: Result, points: Interpolation, path: Path) -> None:
    """Write a binary little-endian PLY (format 1.0); see `save_points`."""
    real = "d" if np.any(result.cloud.origin) else "f"
    layout = [(axis, f"<{real}") for axis in "xyz"]
    layout += [(name, "u1") for name in ("red", "green", "blue")] + [("group", "<i4")]
    table = np.empty(len(result.cloud), dtype=layout)
    for axis, name in enumerate("xyz"):
        table[name] = result.cloud.xyz[:, axis] + result.cloud.origin[axis]
    for column, name in zip(feature_colours(result.tokens, points).T, ("red", "green", "blue"), strict=True):
        table[name] = column
    table["group"] = points.nearest[:, 0]
    names = [(name, _TYPES[real]) for name in "xyz"] + [(name, "uchar") for name in ("red", "green", "blue")]
    lines = [f"property {kind} {name}" for name, kind in [*names, ("group", "int")]]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment foundry-edge",
        f"element vertex {len(table)}",
    ]
    with replacing(path) as partial, partial.open("wb") as stream:
        stream.write("\n".join([*header, *lines, "end_header\n"]).encode("ascii"))
        stream.write(table.tobytes())


def _write_features(result: Result, points: Interpolation, path: Path) -> None:
    head = {"descr": "<f4", "fortran_order": False, "shape": (len(result.cloud), result.tokens.shape[1])}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, head)
        for block in points.blocks(result.tokens):
            stream.write(block.astype("<f4", copy=False).tobytes())
