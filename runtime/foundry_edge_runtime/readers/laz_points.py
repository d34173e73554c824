"""LASzip-compressed point records (Isenburg, "LASzip: lossless compression of LiDAR data", 2013).

The LASzip record and the chunk table are checked here before lazrs sees a byte, because their counts
decide how much is allocated and read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from foundry_edge_runtime.readers.las_header import LasHeader
from foundry_edge_runtime.readers.optional import optional
from foundry_edge_runtime.readers.source import ByteArray, Source
from foundry_edge_runtime.readers.source_file import SourceFile

_MAX_RATIO = 2000
_VARIABLE = 0xFFFFFFFF
_GROUP_BYTES = 32 << 20
_RECOPY = "re-copy the file"

Chunks = list[tuple[int, int]]
"""Points and bytes of each chunk."""


def decompress_records(source: Source, header: LasHeader) -> ByteArray:
    """All point records of a LAZ file.

    Raises:
        ScanError: the LASzip record, the chunk table or a chunk contradicts the header or the file.
        MissingExtraError: lazrs is not installed.
    """
    lazrs = optional("lazrs", "las", "reading compressed LAS (LAZ, COPC)")
    record = header.laszip or b""
    _check_record(source, record, header)
    table = _table_offset(source, header)
    start = header.offset_to_points + 8
    chunks = _chunks(source, lazrs, header, record, table)
    _check_chunks(source, header, chunks, table - start)
    records = np.empty(header.points * header.record_length, np.uint8)
    done_bytes = done = 0
    for group in _groups(chunks, header.record_length):
        count, size = (sum(column) for column in zip(*group, strict=True))
        out = records[done * header.record_length : (done + count) * header.record_length]
        packed = source.array(start + done_bytes, size)
        _call(source, lazrs.decompress_points_with_chunk_table, packed, record, out, group)
        done, done_bytes = done + count, done_bytes + size
    return records


def _check_record(source: Source, record: bytes, header: LasHeader) -> None:
    """Layout of the LASzip record: 34 bytes, then 6 per item."""
    if len(record) < 34:
        raise source.error(f"the LASzip record has {len(record)} bytes, expected at least 34")
    compressor, coder = struct.unpack_from("<HH", record)
    items = struct.unpack_from("<H", record, 32)[0]
    if compressor not in (2, 3) or coder != 0:
        raise source.error(
            f"LAZ compressor {compressor} with coder {coder} is not supported: expected 2 or 3 with 0",
            "export it with a current LASzip",
        )
    if len(record) < 34 + 6 * items:
        raise source.error(f"truncated: the LASzip record claims {items} items, it has {len(record)} bytes")
    sizes = [struct.unpack_from("<H", record, 36 + 6 * i)[0] for i in range(items)]
    if sum(sizes) != header.record_length:
        raise source.error(
            f"LAZ items of {sum(sizes)} bytes contradict the point record length {header.record_length}"
        )


def _table_offset(source: Source, header: LasHeader) -> int:
    """Where the chunk table is: at the start of the points, or for streamed files in the last 8 bytes."""
    start = header.offset_to_points
    if start + 8 > source.size:
        raise source.error("truncated: the LAZ chunk table offset is missing", _RECOPY)
    offset = int(source.array(start, 8).view("<i8")[0])
    if offset == -1:
        offset = int(source.array(source.size - 8, 8).view("<i8")[0])
    if not start + 8 <= offset <= source.size - 8:
        raise source.error(
            f"truncated: the LAZ chunk table is said to be at byte {offset}, the file has {source.size}",
            _RECOPY,
        )
    return offset


def _chunks(source: Source, lazrs: ModuleType, header: LasHeader, record: bytes, table: int) -> Chunks:
    version, count = (int(n) for n in source.array(table, 8).view("<u4"))
    chunk_size = struct.unpack_from("<I", record, 12)[0]
    least = 1 if chunk_size == _VARIABLE else -(-header.points // max(1, chunk_size))
    if version != 0 or not least <= count <= header.points:
        raise source.error(
            f"LAZ chunk table of version {version} with {count} chunks, "
            f"expected version 0 with at least {least}"
        )
    if count * header.record_length > source.size:
        raise source.error(f"truncated: {count} LAZ chunks cannot fit into {source.size} bytes")
    file = SourceFile(source)
    file.seek(header.offset_to_points)
    found = _call(source, lazrs.read_chunk_table, file, _call(source, lazrs.LazVlr, record))
    return [(int(points), int(size)) for points, size in found if size]  # writers may close an empty chunk


def _check_chunks(source: Source, header: LasHeader, chunks: Chunks, have: int) -> None:
    """Trim the last chunk to the points there are, then compare with the header and the file (P5)."""
    before = sum(points for points, _ in chunks[:-1])
    if not chunks or not 0 < header.points - before <= chunks[-1][0]:
        total = sum(points for points, _ in chunks)
        raise source.error(f"the LAZ chunks hold {total} points, the header claims {header.points}")
    chunks[-1] = (header.points - before, chunks[-1][1])
    if any(points <= 0 or size < header.record_length for points, size in chunks):
        raise source.error("corrupt LAZ chunk table: an empty chunk")
    if sum(size for _, size in chunks) > have:
        raise source.error(f"truncated: the LAZ chunks need more than the {have} bytes present", _RECOPY)
    size = header.points * header.record_length
    if size > _MAX_RATIO * have:
        raise source.error(f"{have} compressed bytes claim to hold {size}: a decompression bomb")
    source.reserve(2 * size)


def _groups(chunks: Chunks, record_length: int) -> list[Chunks]:
    """Consecutive chunks that decompress to a bounded number of bytes, so that packed bytes stay few."""
    groups: list[Chunks] = [[]]
    size = 0
    for points, packed in chunks:
        if groups[-1] and size + points * record_length > _GROUP_BYTES:
            groups.append([])
            size = 0
        groups[-1].append((points, packed))
        size += points * record_length
    return groups


def _call(source: Source, function: Callable[..., Any], *arguments: object) -> Any:
    """Call lazrs; its panics derive from BaseException only."""
    try:
        return function(*arguments)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise source.error(f"corrupt LAZ data, LASzip decompression failed: {error}", _RECOPY) from None
