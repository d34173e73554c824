"""sensor_msgs/PointCloud2 messages in CDR (ROS 2) or ROS 1 serialisation.

CDR: OMG "DDS-XTypes" 1.3, section 7.4.1 (XCDR1), values aligned to their size. Every length is checked
against the message before anything is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.pointcloud import Header
from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.columns import axis_names, require_scalar, unique_names
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.raw import Column, RawCloud, stack_xyz
from foundry_edge_runtime.readers.source import Source

_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_MAX_FIELDS = 256


@dataclass(frozen=True)
class PointField:
    """One field of a message: ``count`` values of a datatype at ``offset`` in each point."""

    name: str
    offset: int
    datatype: int
    count: int


class _Reader:
    """Walks a serialised message."""

    def __init__(self, source: Source, data: bytes, encoding: str) -> None:
        self.source, self.data = source, data
        self.aligned = encoding == "cdr"
        if self.aligned and (len(data) < 4 or data[0] != 0 or data[1] not in (0, 1)):
            raise source.error("the scan is no plain CDR message")
        self.position = self.origin = 4 if self.aligned else 0
        self.order = "big" if self.aligned and data[1] == 0 else "little"

    def bytes(self, count: int) -> bytes:
        """The next bytes."""
        end = self.position + count
        if end > len(self.data):
            raise self.source.error(
                f"truncated scan: {end} bytes of data needed, the message has {len(self.data)}"
            )
        part = self.data[self.position : end]
        self.position = end
        return part

    def integer(self, size: int = 4) -> int:
        """The next unsigned integer, aligned to its size in CDR."""
        if self.aligned:
            self.position += -(self.position - self.origin) % size
        return int.from_bytes(self.bytes(size), "big" if self.order == "big" else "little")

    def text(self) -> str:
        """The next string, without its final NUL."""
        return self.bytes(self.integer()).rstrip(b"\x00").decode("utf-8", "backslashreplace")


def read_message(source: Source, data: bytes, encoding: str) -> RawCloud:
    """The points of one message.

    Args:
        source: for error messages.
        data: the serialised message.
        encoding: "cdr" or "ros1".

    Raises:
        ScanError: a length or a field contradicts the message.
    """
    reader = _Reader(source, data, encoding)
    if encoding == "ros1":
        reader.integer()  # sequence number
    header = Header(reader.integer(), reader.integer(), reader.text())
    height, width = reader.integer(), reader.integer()
    fields = _fields(source, reader)
    big = reader.integer(1) != 0
    point_step, row_step = reader.integer(), reader.integer()
    points = reader.bytes(reader.integer())
    return cloud_of(source, fields, points, (height, width), (point_step, row_step), big, header)


def cloud_of(
    source: Source,
    fields: list[PointField],
    points: bytes,
    shape: tuple[int, int],
    steps: tuple[int, int],
    big: bool,
    header: Header,
) -> RawCloud:
    """The points of a message that was taken apart.

    Args:
        source: for error messages.
        fields: of each point.
        points: the data.
        shape: height and width.
        steps: point_step and row_step, in bytes.
        big: whether numbers are big-endian.
        header: of the message.

    Raises:
        ScanError: a size or a field contradicts the data.
    """
    _check_sizes(source, shape, steps, len(points))
    return _cloud(source, fields, _rows(fields, points, shape, steps, big, source), header)


def _fields(source: Source, reader: _Reader) -> list[PointField]:
    count = reader.integer()
    if count > _MAX_FIELDS:
        raise source.error(f"the scan claims {count} fields, at most {_MAX_FIELDS} are read")
    return [
        PointField(reader.text(), reader.integer(), reader.integer(1), reader.integer()) for _ in range(count)
    ]


def _check_sizes(source: Source, shape: tuple[int, int], steps: tuple[int, int], have: int) -> None:
    (height, width), (point_step, row_step) = shape, steps
    if height * width == 0:
        raise source.error(f"the scan is empty (0 points): height {height}, width {width}")
    if point_step == 0 or (height > 1 and row_step < width * point_step):
        raise source.error(
            f"row_step {row_step} of the scan is less than width {width} x point_step {point_step}"
        )
    needed = (height - 1) * row_step + width * point_step
    if needed > have:
        raise source.error(
            f"truncated scan: height {height} x width {width} of point_step {point_step} need {needed} bytes "
            f"of data, the message has {have}"
        )


def _rows(
    fields: list[PointField],
    points: bytes,
    shape: tuple[int, int],
    steps: tuple[int, int],
    big: bool,
    source: Source,
) -> dict[str, Column]:
    """Field name -> (N,) or (N, count) values."""
    columns: dict[str, Column] = {}
    names = unique_names([field.name for field in fields])
    for name, field in zip(names, fields, strict=True):
        code = _DATATYPES.get(field.datatype)
        count = max(1, field.count)
        if code is None:
            raise source.error(
                f"field {shorten(field.name)!r} of the scan has the unknown datatype {field.datatype}"
            )
        dtype = np.dtype(code).newbyteorder(">" if big else "<")
        end = field.offset + dtype.itemsize * count
        if end > steps[0]:
            raise source.error(
                f"field {shorten(field.name)!r} of the scan ends at byte {end}, point_step is {steps[0]}"
            )
        strides = (steps[1], steps[0], dtype.itemsize)
        values = np.ndarray((*shape, count), dtype, points, field.offset, strides)
        columns[name] = values.reshape(-1) if count == 1 else values.reshape(-1, count)
    return columns


def _cloud(source: Source, fields: list[PointField], columns: dict[str, Column], header: Header) -> RawCloud:
    names = [field.name for field in fields]
    axes = axis_names(source, names, "fields of the scan")
    for axis in axes:
        require_scalar(source, axis, max(1, fields[names.index(axis)].count), "count")
    x, y, z = (columns.pop(axis) for axis in axes)
    return RawCloud(
        "mcap/pointcloud2", tuple(names), stack_xyz(x, y, z), attributes_of(columns), header=header
    )
