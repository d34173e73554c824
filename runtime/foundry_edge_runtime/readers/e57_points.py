"""The points of an E57 scan: data packets of one bytestream per field (ASTM E2807-11, section 9.3)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.e57_pages import logical
from foundry_edge_runtime.readers.e57_scheme import E57Field, E57Scan
from foundry_edge_runtime.readers.source import ByteArray, Source

_SECTION_HEADER = 32
_INDEX, _DATA, _EMPTY = 0, 1, 2
_CHUNK = 1 << 16

Values = npt.NDArray[np.generic]


def read_fields(source: Source, data: ByteArray, scan: E57Scan) -> dict[str, Values]:
    """Field name -> (N,) values: floats as stored, integers as int64, scaled integers as float64.

    Raises:
        ScanError: a packet reaches beyond the file, or a bytestream holds fewer points than claimed.
    """
    streams = _streams(source, data, scan)
    return {
        field.name: _decoded(source, field, stream, scan.points)
        for field, stream in zip(scan.fields, streams, strict=True)
    }


def _streams(source: Source, data: ByteArray, scan: E57Scan) -> list[ByteArray]:
    """The bytestreams of the fields, joined over all packets of the section."""
    position, end = _section(source, data, scan)
    parts: list[list[ByteArray]] = [[] for _ in scan.fields]
    while position + 4 <= end:
        kind = int(data[position])
        length = 1 + int(data[position + 2]) + 256 * int(data[position + 3])
        if kind not in (_INDEX, _DATA, _EMPTY) or position + length > end or length % 4:
            raise source.error(
                f"truncated or corrupt E57 packet: type {kind}, a length of {length} bytes, at {position}"
            )
        if kind == _DATA:
            _add_packet(source, data[position : position + length], parts)
        position += length
    return [np.concatenate(part) if part else data[:0] for part in parts]


def _section(source: Source, data: ByteArray, scan: E57Scan) -> tuple[int, int]:
    start = logical(scan.offset)
    if start + _SECTION_HEADER > len(data):
        raise source.error(f"truncated: the E57 points are said to be at byte {scan.offset}, beyond the end")
    header = np.ascontiguousarray(data[start : start + _SECTION_HEADER])
    length, data_start = (int(value) for value in header[8:24].view("<u8"))
    if header[0] != 1 or length < _SECTION_HEADER or length > len(data) - start:
        raise source.error(f"corrupt E57 points: a section with a length of {length} bytes at {scan.offset}")
    first = logical(data_start)
    if not start + _SECTION_HEADER <= first <= start + length:
        raise source.error(f"corrupt E57 points: the first packet is said to be at byte {data_start}")
    return first, start + length


def _add_packet(source: Source, packet: ByteArray, parts: list[list[ByteArray]]) -> None:
    count = int(packet[4]) + 256 * int(packet[5]) if len(packet) >= 6 else -1
    start = 6 + 2 * count
    if count != len(parts) or start > len(packet):
        raise source.error(f"corrupt E57 packet: {count} bytestreams, expected {len(parts)}")
    lengths = np.ascontiguousarray(packet[6:start]).view("<u2")
    if start + int(lengths.sum(dtype=np.int64)) > len(packet):
        raise source.error("corrupt E57 packet: its bytestreams exceed its length")
    for part, length in zip(parts, lengths.tolist(), strict=True):
        part.append(packet[start : start + length])
        start += length


def _decoded(source: Source, field: E57Field, stream: ByteArray, points: int) -> Values:
    needed = points * field.float_bytes if field.float_bytes else -(-points * field.bits // 8)
    if needed > len(stream) or points > 8 * source.size:
        raise source.error(
            f"truncated: field {field.name!r} of {points} E57 points needs {needed} bytes, "
            f"{len(stream)} are present"
        )
    if field.float_bytes:
        return np.ascontiguousarray(stream[:needed]).view(f"<f{field.float_bytes}")
    integers = _unpacked(stream[:needed], field.bits, points)
    values = (integers.astype(np.uint64) + np.uint64(field.minimum % 2**64)).view(np.int64)
    if field.scale == 1.0 and field.offset == 0.0:
        return values
    return values * field.scale + field.offset


def _unpacked(stream: ByteArray, bits: int, points: int) -> npt.NDArray[np.uint64]:
    """Integers of ``bits`` bits each, packed without gaps, least significant bit first."""
    out = np.zeros(points, np.uint64)
    if bits == 0:
        return out
    weights = np.uint64(1) << np.arange(bits, dtype=np.uint64)
    for start in range(0, points, _CHUNK):  # _CHUNK values of any width end on a whole byte
        count = min(_CHUNK, points - start)
        first = start * bits // 8
        packed = stream[first : first + -(-count * bits // 8)]
        cells = np.unpackbits(packed, bitorder="little", count=count * bits).reshape(count, bits)
        out[start : start + count] = cells.astype(np.uint64) @ weights
    return out
