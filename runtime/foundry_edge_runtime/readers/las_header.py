"""The header and records of LAS 1.0 to 1.4 files (ASPRS, "LAS Specification 1.4 - R15")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.readers.source import Source

SIGNATURE = b"LASF"
LASZIP_VLR = ("laszip encoded", 22204)
_SIZES = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)
"""Bytes of a record in point formats 0 to 10, without extra bytes."""
_LEAST_HEADER = 227
_HEADER_14 = 375
_VLR_HEADER = 54

_INTENSITY = [("intensity", "<u2")]
_OLD = [("flags", "u1"), ("classification", "u1"), ("scan_angle", "i1"), ("user_data", "u1")]
_NEW = [("flags", "<u2"), ("classification", "u1"), ("user_data", "u1"), ("scan_angle", "<i2")]
_SOURCE, _TIME = [("point_source_id", "<u2")], [("gps_time", "<f8")]
_RGB = [("red", "<u2"), ("green", "<u2"), ("blue", "<u2")]
_AXES = [("X", "<i4"), ("Y", "<i4"), ("Z", "<i4")]
_OLD_POINT = [*_AXES, *_INTENSITY, *_OLD, *_SOURCE]
_NEW_POINT = [*_AXES, *_INTENSITY, *_NEW, *_SOURCE, *_TIME]
_NIR = [("nir", "<u2")]
_FIELDS = (
    _OLD_POINT, [*_OLD_POINT, *_TIME], [*_OLD_POINT, *_RGB], [*_OLD_POINT, *_TIME, *_RGB],
    [*_OLD_POINT, *_TIME], [*_OLD_POINT, *_TIME, *_RGB],
    _NEW_POINT, [*_NEW_POINT, *_RGB], [*_NEW_POINT, *_RGB, *_NIR], _NEW_POINT, [*_NEW_POINT, *_RGB, *_NIR],
)  # fmt: skip
"""Named fields of each point format; wave packets, which follow them, are skipped."""


@dataclass(frozen=True)
class LasHeader:
    """A checked header.

    Attributes:
        version: e.g. "1.2".
        point_format: 0 to 10.
        record_length: bytes of one point record, extra bytes included.
        points: how many points the file claims.
        offset_to_points: offset of the first record.
        scale, offset: (3,) float64; coordinate = record x scale + offset.
        low, high: the box that the header gives.
        laszip: content of the LASzip record, None for uncompressed points.
    """

    version: str
    point_format: int
    record_length: int
    points: int
    offset_to_points: int
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    laszip: bytes | None

    @property
    def dtype(self) -> np.dtype[np.void]:
        """One record; bytes that have no name are padding."""
        fields = _FIELDS[self.point_format]
        starts, start = [], 0
        for _, code in fields:
            starts.append(start)
            start += np.dtype(code).itemsize
        return np.dtype(
            {
                "names": [name for name, _ in fields],
                "formats": [code for _, code in fields],
                "offsets": starts,
                "itemsize": self.record_length,
            }
        )


def parse_header(source: Source) -> LasHeader:
    """Read and check the header and find the LASzip record.

    Raises:
        ScanError: naming the header entry, what was expected and what was found.
    """
    head = source.read(0, min(source.size, _HEADER_14))
    if head[:4] != SIGNATURE:
        raise source.error(f"not a LAS file: the signature is {head[:4]!r}, expected b'LASF'")
    if len(head) < _LEAST_HEADER:
        raise source.error(f"truncated: a LAS header is {_LEAST_HEADER} bytes, the file has {source.size}")
    version = _version(source, head)
    header_size, to_points, vlrs = struct.unpack_from("<HII", head, 94)
    raw_format, record_length, points = struct.unpack_from("<BHI", head, 104)
    if version == "1.4" and len(head) >= _HEADER_14 and header_size >= _HEADER_14:
        points = struct.unpack_from("<Q", head, 247)[0] or points
    point_format = _point_format(source, raw_format, record_length)
    _check_offsets(source, header_size, to_points)
    numbers = struct.unpack_from("<6d", head, 131)
    box = struct.unpack_from("<6d", head, 179)  # maximum and minimum of x, of y, of z
    _check_scale(source, numbers)
    laszip = _laszip(source, header_size, to_points, vlrs)
    if raw_format & 0xC0 and laszip is None:
        raise source.error(f"point format {raw_format} says compressed, but there is no LASzip record")
    return LasHeader(
        version,
        point_format,
        record_length,
        points,
        to_points,
        numbers[:3],
        numbers[3:],
        box[1::2],
        box[::2],
        laszip,
    )


def _version(source: Source, head: bytes) -> str:
    major, minor = head[24], head[25]
    if major != 1 or minor > 4:
        raise source.error(
            f"LAS version {major}.{minor} is unknown, expected 1.0 to 1.4", "export as LAS 1.4"
        )
    return f"{major}.{minor}"


def _point_format(source: Source, raw_format: int, record_length: int) -> int:
    """The format without the bits that LASzip sets on compressed points."""
    point_format = raw_format & 0x3F
    if point_format >= len(_SIZES):
        raise source.error(f"point format {raw_format} is unknown, expected 0 to {len(_SIZES) - 1}")
    if record_length < _SIZES[point_format]:
        raise source.error(
            f"point record length {record_length} is too short: format {point_format} "
            f"needs {_SIZES[point_format]} bytes"
        )
    return point_format


def _check_offsets(source: Source, header_size: int, to_points: int) -> None:
    if header_size < _LEAST_HEADER or header_size > source.size:
        raise source.error(f"header size {header_size}: expected {_LEAST_HEADER} to {source.size} bytes")
    if to_points < header_size or to_points > source.size:
        raise source.error(
            f"truncated, or a wrong offset to point data {to_points}: expected {header_size} to {source.size}"
        )


def _check_scale(source: Source, numbers: tuple[float, ...]) -> None:
    for axis, scale, offset in zip("xyz", numbers[:3], numbers[3:], strict=True):
        if not np.isfinite(scale) or scale == 0:
            raise source.error(f"scale of {axis} is {scale:g}: every point would collapse", "export it again")
        if not np.isfinite(offset):
            raise source.error(f"offset of {axis} is {offset:g}, expected a finite number", "export it again")


def _laszip(source: Source, start: int, end: int, claimed: int) -> bytes | None:
    """The LASzip record among the variable length records, which fill the file up to the points.

    The number of records is not trusted: walking ends where the points start.
    """
    records = source.read(start, end - start)
    position = 0
    for _ in range(claimed):
        if position + _VLR_HEADER > len(records):
            source.warn(f"{claimed} variable length records are claimed, fewer are present")
            return None
        user = records[position + 2 : position + 18].split(b"\x00")[0].decode("latin-1")
        record, length = struct.unpack_from("<HH", records, position + 18)
        position += _VLR_HEADER
        if (user, record) == LASZIP_VLR:
            if position + length > len(records):
                raise source.error(
                    f"the LASzip record of {length} bytes reaches beyond the point data offset {end}"
                )
            return records[position : position + length]
        position += length
    return None
