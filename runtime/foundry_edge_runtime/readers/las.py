"""LAS, LAZ and COPC files: LAS by numpy, compressed points by lazrs behind checks of its own input.

COPC is LAZ 1.4 with an index, so it needs nothing further.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.las_header import LasHeader, parse_header
from foundry_edge_runtime.readers.laz_points import decompress_records
from foundry_edge_runtime.readers.raw import Column, Options, RawCloud
from foundry_edge_runtime.readers.source import ByteArray, Source

_KEPT = ("intensity", "classification", "gps_time", "red", "green", "blue", "nir", "point_source_id")


def read(source: Source, options: Options) -> RawCloud:
    """Read one LAS or LAZ file; coordinates are scaled in float64."""
    header = parse_header(source)
    if header.points == 0:
        raise source.error(
            "the number of point records is 0: the scan is empty (no points)", "record it again"
        )
    data = _records(source, header, options) if header.laszip is None else decompress_records(source, header)
    records = data.view(header.dtype)
    xyz = np.empty((len(records), 3), order="F")
    for axis, name in enumerate("XYZ"):
        np.multiply(records[name], header.scale[axis], out=xyz[:, axis])
        xyz[:, axis] += header.offset[axis]
    _compare_box(source, header, xyz)
    names = header.dtype.names or ()
    columns: dict[str, Column] = {name: records[name] for name in _KEPT if name in names}
    kind = "las" if header.laszip is None else "laz"
    fields = ("x", "y", "z", *names[3:])
    return RawCloud(f"{kind}/{header.version}", fields, xyz, attributes_of(columns))


def _records(source: Source, header: LasHeader, options: Options) -> ByteArray:
    have = source.size - header.offset_to_points
    whole = min(header.points, have // header.record_length)
    if whole < header.points:
        problem = (
            f"truncated: {header.points} point records of {header.record_length} bytes claimed, "
            f"{whole} whole ones present"
        )
        if not (options.salvage and whole):
            raise source.error(problem, "re-copy the file, or pass --salvage to keep the whole points")
        source.warn(f"{problem}; kept those")
    return source.array(header.offset_to_points, whole * header.record_length)


def _compare_box(source: Source, header: LasHeader, xyz: npt.NDArray[np.float64]) -> None:
    """Warn when the points lie outside the header's box: the sign of a damaged LAZ, which has no checksum."""
    if not any((*header.low, *header.high)):
        return  # left out by the writer
    slack = 2 * np.abs(header.scale) + 1e-9 * np.abs(xyz[0])
    below, above = xyz.min(axis=0) < header.low - slack, xyz.max(axis=0) > header.high + slack
    if (below | above).any():
        source.warn("points lie outside the bounds that the header gives: the file may be damaged")
