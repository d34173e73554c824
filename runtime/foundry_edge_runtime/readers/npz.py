"""NPZ archives: one array of points, found by its name; further arrays of the same length are attributes."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.errors import FoundryEdgeError
from foundry_edge_runtime.readers.array_layout import cloud_of_array
from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.columns import AXES
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.npy import NpyHeader, parse_header, shaped
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import ByteArray, Source
from foundry_edge_runtime.readers.source_file import SourceFile

POINT_KEYS = (
    "points", "xyz", "pc", "pcd", "cloud", "pointcloud", "point_cloud", "coords", "coord", "pos", "positions",
    "data", "vertices", "arr_0",
)  # fmt: skip
"""Names of an array of points, the first present wins."""
MAX_RATIO = 50
"""Largest expansion of an archive that is not small; point data compress by less than 20."""
_SMALL = 16 << 20
_BAD_ZIP = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, IndexError, NotImplementedError,
    RuntimeError, struct.error, OverflowError,
)  # fmt: skip


def read(source: Source, options: Options) -> RawCloud:
    """Read the points of an archive."""
    with _opened(source) as archive:
        _refuse_bomb(source, archive)
        members = {_key(source, info): info for info in archive.infolist() if not info.is_dir()}
        key = next((name for name in POINT_KEYS if name in members), None)
        if key is None and set(AXES) <= members.keys():
            cloud = _from_axes(source, archive, [members.pop(axis) for axis in AXES])
        elif key is not None:
            points = _array(source, archive, members.pop(key))
            cloud = cloud_of_array(source, points, "npz", options.columns)
        else:
            listed = shorten(", ".join(sorted(members)), 80) or "none"
            raise source.error(
                f"no array that looks like points: expected a key such as points or xyz, found: {listed}",
                "name the array points",
            )
        for name, info in members.items():
            _add_attribute(source, archive, cloud, name, info)
    return cloud


def names_in(source: Source) -> frozenset[str]:
    """Names of the arrays of an archive.

    Raises:
        ScanError: it is no archive.
    """
    with _opened(source) as archive:
        return frozenset(_key(source, info) for info in archive.infolist())


def _from_axes(source: Source, archive: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> RawCloud:
    columns = [_array(source, archive, info) for info in infos]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        shapes = " ".join(str(column.shape) for column in columns)
        raise source.error(f"the arrays x, y and z have the shapes {shapes}, expected (N,) each")
    return cloud_of_array(source, np.column_stack(columns), "npz", None)


@contextmanager
def _opened(source: Source) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(SourceFile(source)) as archive:
            yield archive
    except FoundryEdgeError:
        raise
    except _BAD_ZIP as error:
        raise source.error(
            f"corrupt or truncated NPZ (ZIP) archive: {shorten(str(error), 80)}", "re-copy the file"
        ) from None


def _refuse_bomb(source: Source, archive: zipfile.ZipFile) -> None:
    """Sizes are those of the directory; a member that holds more is cut off there, and its checksum fails."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(_SMALL, MAX_RATIO * source.size):
        raise source.error(f"{source.size} bytes claim to unpack to {unpacked}: a decompression bomb")


def _key(source: Source, info: zipfile.ZipInfo) -> str:
    name = info.filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise source.error(
            f"member name {shorten(name)!r} leads out of the archive",
            "save the arrays again under plain names",
        )
    return name.removesuffix(".npy")


def _array(source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> npt.NDArray[np.generic]:
    header = _member_header(source, archive, info)
    if header.body + header.size > info.file_size:
        raise source.error(
            f"array {_key(source, info)!r}: shape {header.shape} of dtype {header.dtype} exceeds "
            f"its {info.file_size} bytes"
        )
    return shaped(_body(source, archive, info, header), header, header.shape)


def _member_header(source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpyHeader:
    with archive.open(info) as member:
        return parse_header(source, member.read(1 << 14))


def _body(source: Source, archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: NpyHeader) -> ByteArray:
    source.reserve(header.size)
    buffer = np.empty(header.size, np.uint8)
    done = 0
    with archive.open(info) as member:
        member.read(header.body)
        while done < header.size:
            chunk = member.read(min(1 << 20, header.size - done))
            if not chunk:
                raise source.error(
                    f"array {_key(source, info)!r} is truncated after {done} of {header.size} bytes"
                )
            buffer[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
            done += len(chunk)
        member.read(1)  # at its end the member's checksum is compared
    return buffer


def _add_attribute(
    source: Source, archive: zipfile.ZipFile, cloud: RawCloud, name: str, info: zipfile.ZipInfo
) -> None:
    """Keep an array that has one row of numbers per point; leave out any other with a warning."""
    if not info.filename.endswith(".npy"):
        return
    header = _member_header(source, archive, info)
    rows = len(cloud.xyz)
    if header.shape[:1] != (rows,) or header.dtype.kind not in "fiub" or math.prod(header.shape) > 64 * rows:
        source.warn(f"array {shorten(name)!r} of shape {header.shape} is no per-point attribute: left out")
        return
    cloud.attributes |= attributes_of({name: _array(source, archive, info)})
    cloud.fields = (*cloud.fields, name)
