"""Binary PLY elements whose rows hold lists: walked row by row, in strides while the lengths stay equal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.ply_header import Element, Property
from foundry_edge_runtime.readers.raw import Column
from foundry_edge_runtime.readers.source import ByteArray, Source

_LONGEST_STRIDE = 1 << 16


class _Walker:
    """Finds where every property of every row starts."""

    def __init__(self, source: Source, data: ByteArray, element: Element) -> None:
        self.source, self.data, self.element = source, data, element
        self.raw = data.data
        self.starts: list[npt.NDArray[np.int64]] = []

    def walk(self, keep: bool) -> int:
        """Go through all rows; the offset after the last one. ``keep`` records `starts`."""
        position = row = 0
        stride = 1
        while row < self.element.count:
            offsets, size = self._row(position, row)
            same = self._equal_rows(position, size, offsets, min(stride, self.element.count - row))
            if keep:
                self.starts.append(position + size * np.arange(same)[:, None] + np.array(offsets)[None, :])
            position, row = position + size * same, row + same
            stride = min(stride * 4, _LONGEST_STRIDE) if same >= stride else 1
            if stride == 1 and not keep and self._is_simple():
                position, row = self._hop(position, row)
        return position

    def _is_simple(self) -> bool:
        """Whether a row is one list whose length is a byte, as nearly all faces are."""
        kinds = [prop.list_type for prop in self.element.properties]
        return len(kinds) == 1 and kinds[0] is not None and kinds[0].itemsize == 1 and kinds[0].kind == "u"

    def _hop(self, position: int, row: int) -> tuple[int, int]:
        """Rows of mixed lengths, as fast as Python can; ends before the first that exceeds the file."""
        raw, entry, end = self.raw, self.element.properties[0].dtype.itemsize, len(self.raw)
        last = min(self.element.count, row + _LONGEST_STRIDE)
        while row < last and position < end:
            after = position + 1 + entry * raw[position]
            if after > end:
                break
            position, row = after, row + 1
        return position, row

    def _row(self, position: int, row: int) -> tuple[list[int], int]:
        """Offsets of the properties of the row at ``position``, and its size in bytes."""
        offsets, cursor = [], position
        for prop in self.element.properties:
            offsets.append(cursor - position)
            if prop.list_type is None:
                cursor += prop.dtype.itemsize
                continue
            length = self._length(prop, cursor, row)
            cursor += prop.list_type.itemsize + length * prop.dtype.itemsize
            self._require(cursor, row, f"list {prop.name} of {length} entries")
        self._require(cursor, row, "the row")
        return offsets, cursor - position

    def _length(self, prop: Property, cursor: int, row: int) -> int:
        kind = prop.list_type
        if kind is None:
            raise ValueError("a scalar has no length")
        self._require(cursor + kind.itemsize, row, f"the length of list {prop.name}")
        order = "big" if kind.str[0] == ">" else "little"
        cell = self.raw[cursor : cursor + kind.itemsize]
        length = int.from_bytes(cell, "big" if order == "big" else "little", signed=kind.kind == "i")
        if length < 0:
            raise self.source.error(
                f"element {self.element.name}, row {row + 1}: "
                f"list {prop.name} has the negative length {length}"
            )
        return length

    def _require(self, end: int, row: int, what: str) -> None:
        if end > len(self.raw):
            raise self.source.error(
                f"truncated: element {self.element.name}, row {row + 1} of {self.element.count}: {what} "
                f"exceeds the end of the file by {end - len(self.raw)} bytes"
            )

    def _equal_rows(self, position: int, size: int, offsets: list[int], wanted: int) -> int:
        """How many rows from ``position`` have lists of the same lengths as the first."""
        wanted = min(wanted, (len(self.raw) - position) // size) if size else wanted
        if wanted <= 1 or size == 0:
            return 1
        rows = self.data[position : position + wanted * size].reshape(wanted, size)
        equal = np.ones(wanted, np.bool_)
        for prop, offset in zip(self.element.properties, offsets, strict=True):
            if prop.list_type is not None:
                cells = rows[:, offset : offset + prop.list_type.itemsize]
                equal &= (cells == cells[0]).all(axis=1)
        return wanted if equal.all() else int(equal.argmin())


def skip_rows(source: Source, data: ByteArray, element: Element) -> int:
    """Bytes that the element takes; raises `ScanError` when the file ends inside it."""
    return _Walker(source, data, element).walk(keep=False)


def read_scalars(source: Source, data: ByteArray, element: Element) -> tuple[dict[str, Column], int]:
    """The scalar properties of an element that also has lists, and the bytes that it takes."""
    walker = _Walker(source, data, element)
    used = walker.walk(keep=True)
    starts = np.concatenate(walker.starts)
    columns = {
        prop.name: _gather(data, starts[:, index], prop.dtype)
        for index, prop in enumerate(element.properties)
        if prop.list_type is None
    }
    return columns, used


def _gather(data: ByteArray, starts: npt.NDArray[np.int64], dtype: np.dtype[np.generic]) -> Column:
    cells = data[starts[:, None] + np.arange(dtype.itemsize)[None, :]]
    return np.ascontiguousarray(cells).view(dtype)[:, 0]
