"""The one place where points are judged: policy P2 to P4 of the reading rules, for every format alike."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.pointcloud import Bounds, DoubleArray, FloatArray, PointCloud
from foundry_edge_runtime.readers.doubts import doubts
from foundry_edge_runtime.readers.raw import RawCloud
from foundry_edge_runtime.readers.source import Source

MAX_COORDINATE = 1e8
"""|coordinate| above this is out of range (P3); UTM and Earth-centred coordinates stay legal."""
_BLOCK = 1 << 16

BoolArray = npt.NDArray[np.bool_]


def finish(raw: RawCloud, source: Source) -> PointCloud:
    """Drop what cannot be computed with, re-centre in float64, count and warn.

    Args:
        raw: the scan as its file holds it.
        source: where it comes from; its warnings go into the result.

    Raises:
        ScanError: no point is left.
    """
    read = len(raw.xyz)
    if read == 0:
        raise source.error("the scan is empty (0 points)", "record it again")
    xyz = np.asfortranarray(raw.xyz)
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    dropped: dict[str, int] = {"non_finite": 0, "out_of_range": 0}
    attributes = raw.attributes
    if not _all_valid(low, high):
        keep, dropped = _judge(xyz, source)
        xyz = np.asfortranarray(xyz[keep])
        attributes = {key: column[keep] for key, column in attributes.items()}
        low, high = xyz.min(axis=0), xyz.max(axis=0)
    origin = choose_origin(low.astype(np.float64), high.astype(np.float64))
    return PointCloud(
        xyz=recentre(xyz, origin),
        origin=origin,
        bounds=Bounds(_triple(low), _triple(high)),
        attributes=attributes,
        source=source.name,
        format=raw.format,
        fields=raw.fields,
        read=read,
        dropped=dropped,
        warnings=(*source.take_warnings(), *_dropped(dropped, read), *doubts(xyz, low, high)),
        header=raw.header,
    )


def choose_origin(low: DoubleArray, high: DoubleArray) -> DoubleArray:
    """The box's centre, rounded to a power of two no larger than the box's longest side.

    Rounding keeps the subtraction exact for most float32 input, and makes it zero for clouds that already
    lie around zero; no re-centred coordinate exceeds the longest side.
    """
    side = float((high - low).max())
    centre = low + (high - low) / 2
    if side <= 0:
        return centre
    step = 2.0 ** np.floor(np.log2(side))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        rounded = np.round(centre / step) * step
    return np.where(np.isfinite(rounded), rounded, centre) + 0.0


def recentre(xyz: npt.NDArray[np.floating], origin: DoubleArray) -> FloatArray:
    """``xyz - origin``, computed in float64, as contiguous float32 (policy P4)."""
    out = np.empty(xyz.shape, np.float32)
    for start in range(0, len(xyz), _BLOCK):  # blocks stay in the processor's cache
        rows = slice(start, start + _BLOCK)
        for axis in range(3):
            out[rows, axis] = np.subtract(xyz[rows, axis], origin[axis], dtype=np.float64)
    return out


def _all_valid(low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]) -> bool:
    return bool(np.all(low >= -MAX_COORDINATE) and np.all(high <= MAX_COORDINATE))


def _judge(xyz: npt.NDArray[np.floating], source: Source) -> tuple[BoolArray, dict[str, int]]:
    finite = np.logical_and.reduce([np.isfinite(column) for column in xyz.T])
    in_range = np.logical_and.reduce([np.abs(column) <= MAX_COORDINATE for column in xyz.T])  # not for NaN
    dropped = {
        "non_finite": int(len(xyz) - np.count_nonzero(finite)),
        "out_of_range": int(np.count_nonzero(finite & ~in_range)),
    }
    if not in_range.any():
        raise source.error(_nothing_left(dropped, xyz), "check the sensor or the units")
    return in_range, dropped


def _nothing_left(dropped: dict[str, int], xyz: npt.NDArray[np.floating]) -> str:
    if dropped["out_of_range"] == 0:
        return f"no valid points: all {len(xyz)} have a non-finite (NaN or infinite) coordinate"
    finite = np.abs(xyz[np.isfinite(xyz)])
    return (
        f"no valid points: {dropped['non_finite']} are non-finite and {dropped['out_of_range']} out of range "
        f"(a coordinate of magnitude {finite.max():.4g}, expected at most {MAX_COORDINATE:g})"
    )


def _dropped(dropped: dict[str, int], read: int) -> list[str]:
    lines = []
    if dropped["non_finite"]:
        lines.append(f"dropped {dropped['non_finite']} of {read} points: not finite (NaN or infinite)")
    if dropped["out_of_range"]:
        limit = f"|coordinate| > {MAX_COORDINATE:g}"
        lines.append(f"dropped {dropped['out_of_range']} of {read} points: out of range ({limit})")
    return lines


def _triple(row: npt.NDArray[np.floating]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in row)
    return x, y, z
