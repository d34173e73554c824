"""`--per-point`: the features of every point as npy, and the coloured points as PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.colours import feature_colours
from foundry_edge_runtime.errors import printable
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.interpolation import Interpolation, interpolation
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.saved import PLY_HEAD, POINTS_NPY, POINTS_PLY

_TYPES = {"f": "float", "d": "double"}


def save_points(result: Result, path: Path) -> Path:
    """Write two files for the points of a scan, both atomically.

    ``path`` with .points.ply for .npz: x, y, z in the coordinates of the file (float; double where the cloud
    was re-centred), red, green, blue from the first three principal components, the number of the nearest
    group and, where parts were asked for, the number of the part, whose names are comments of the header.
    With .points.npy: (N, d) float32, the features in the same order.

    Args:
        result: what was computed.
        path: where the features of the scan go.

    Returns:
        The PLY file.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    points = interpolation(result)
    _write_features(result, points, path.with_suffix(POINTS_NPY))
    ply = path.with_suffix(POINTS_PLY)
    write_ply(result, points, ply)
    return ply


def write_ply(result: Result, points: Interpolation, path: Path) -> None:
    """Write a binary little-endian PLY (format 1.0); see `save_points`."""
    real = "d" if np.any(result.cloud.origin) else "f"
    layout = [(axis, f"<{real}") for axis in "xyz"]
    numbers: dict[str, npt.NDArray[np.integer]] = {"group": points.nearest[:, 0]}
    if result.parts is not None:
        numbers["part"] = result.parts.part
    layout += [(name, "u1") for name in ("red", "green", "blue")] + [(name, "<i4") for name in numbers]
    table = np.empty(len(result.cloud), dtype=layout)
    for axis, name in enumerate("xyz"):
        table[name] = result.cloud.xyz[:, axis] + result.cloud.origin[axis]
    for column, name in zip(feature_colours(result.tokens, points).T, ("red", "green", "blue"), strict=True):
        table[name] = column
    for name, column in numbers.items():
        table[name] = column
    names = [(name, _TYPES[real]) for name in "xyz"] + [(name, "uchar") for name in ("red", "green", "blue")]
    names += [(name, "int") for name in numbers]
    lines = [f"property {kind} {name}" for name, kind in names]
    header = [
        *PLY_HEAD,
        *_part_comments(result),
        f"element vertex {len(table)}",
    ]
    with replacing(path) as partial, partial.open("wb") as stream:
        text = "\n".join([*header, *lines, "end_header\n"])
        stream.write(text.encode("ascii", "backslashreplace"))
        stream.write(table.tobytes())


def _part_comments(result: Result) -> list[str]:
    """What the numbers of the parts mean, a comment each."""
    names = () if result.parts is None else result.parts.names
    return [f"comment part {number} {printable(name)}" for number, name in enumerate(names)]


def _write_features(result: Result, points: Interpolation, path: Path) -> None:
    head = {"descr": "<f4", "fortran_order": False, "shape": (len(result.cloud), result.tokens.shape[1])}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, head)
        for block in points.blocks(result.tokens):
            stream.write(block.astype("<f4", copy=False).tobytes())
