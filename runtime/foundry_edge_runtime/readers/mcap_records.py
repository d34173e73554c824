"""The records of an MCAP file (mcap.dev, "MCAP Format Specification"), lengths and checksums verified."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_edge_runtime.readers.optional import optional
from foundry_edge_runtime.readers.source import Source

MAGIC = b"\x89MCAP0\r\n"
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x02, 0x03, 0x04, 0x05, 0x06, 0x0F
_RECORD_HEADER = 9
_MAX_RATIO = 200
"""Largest expansion of a chunk that is not small."""
_SMALL = 16 << 20


@dataclass(frozen=True)
class Record:
    """One record: what it is and its content."""

    opcode: int
    content: bytes


class Cursor:
    """Reads little-endian values from a record, never beyond its end."""

    def __init__(self, source: Source, data: bytes, what: str) -> None:
        self.source, self.data, self.what = source, data, what
        self.position = 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        end = self.position + count
        if end > len(self.data):
            raise self.source.error(f"truncated {self.what}: {end} bytes needed, it has {len(self.data)}")
        part = self.data[self.position : end]
        self.position = end
        return part

    def integer(self, size: int) -> int:
        """The next unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        """The next string: a length of four bytes, then UTF-8."""
        return self.take(self.integer(4)).decode("utf-8", "backslashreplace")


def is_complete(source: Source) -> bool:
    """Whether the file ends with the closing magic bytes."""
    size = len(MAGIC)
    return source.size >= 2 * size and source.read(source.size - size, size) == MAGIC


def data_records(source: Source, start: int = len(MAGIC)) -> Iterator[Record]:
    """Schemas, channels and messages of the file from ``start``, chunks unpacked, up to the footer.

    Raises:
        ScanError: a record reaches beyond the file, a checksum differs, or a chunk cannot be unpacked.
    """
    position, checksum = start, zlib.crc32(MAGIC)
    while position < source.size:
        record, end = _record_at(source, position)
        if record.opcode == FOOTER:
            return
        if record.opcode == DATA_END:
            _check_data_crc(source, record, checksum if start == len(MAGIC) else 0)
        checksum = zlib.crc32(record.content, zlib.crc32(source.read(position, _RECORD_HEADER), checksum))
        position = end
        if record.opcode == CHUNK:
            yield from _unpacked(source, record)
        else:
            yield record


def summary_start(source: Source) -> int:
    """Offset of the summary section, 0 when there is none."""
    size = _RECORD_HEADER + 20
    at = source.size - len(MAGIC) - size
    if at < len(MAGIC):
        return 0
    record, _ = _record_at(source, at)
    if record.opcode != FOOTER:
        raise source.error("corrupt MCAP: no footer before the end")
    start = int.from_bytes(record.content[:8], "little")
    return start if len(MAGIC) <= start < at else 0


def _record_at(source: Source, position: int) -> tuple[Record, int]:
    if position + _RECORD_HEADER > source.size:
        raise source.error(f"truncated: the file ends inside a record at byte {position} (no footer)")
    opcode, length = struct.unpack("<BQ", source.read(position, _RECORD_HEADER))
    start = position + _RECORD_HEADER
    if opcode == 0 or length > source.size - start:
        raise source.error(
            f"truncated: the record at byte {position} claims {length} bytes, {source.size - start} are left"
        )
    return Record(opcode, source.read(start, length)), start + length


def _check_data_crc(source: Source, record: Record, computed: int) -> None:
    expected = int.from_bytes(record.content[:4], "little")
    if expected and computed and expected != computed:
        raise source.error(f"corrupt MCAP: the data checksum is {computed:08x}, expected {expected:08x}")


def _unpacked(source: Source, chunk: Record) -> Iterator[Record]:
    cursor = Cursor(source, chunk.content, "MCAP chunk")
    cursor.take(16)  # times of the first and last message
    size, expected = cursor.integer(8), cursor.integer(4)
    compression = cursor.text()
    data = _decompressed(source, compression, cursor.take(cursor.integer(8)), size)
    if len(data) != size:
        raise source.error(f"corrupt MCAP chunk: {len(data)} bytes unpacked, {size} claimed")
    if expected and zlib.crc32(data) != expected:
        raise source.error(f"corrupt MCAP chunk: checksum {zlib.crc32(data):08x}, expected {expected:08x}")
    inner = Cursor(source, data, "MCAP chunk")
    while inner.position < len(data):
        opcode = inner.integer(1)
        yield Record(opcode, inner.take(inner.integer(8)))


def _decompressed(source: Source, compression: str, packed: bytes, size: int) -> bytes:
    if compression == "":
        return packed
    if size > max(_SMALL, _MAX_RATIO * len(packed)):
        raise source.error(
            f"an MCAP chunk of {len(packed)} bytes claims to hold {size}: a decompression bomb"
        )
    source.reserve(size)
    if compression == "zstd":
        return _zstd(source, packed, size)
    if compression == "lz4":
        return _lz4(source, packed, size)
    raise source.error(f"MCAP chunk compression {compression[:20]!r} is unknown, expected zstd or lz4")


def _zstd(source: Source, packed: bytes, size: int) -> bytes:
    zstandard = optional("zstandard", "ros", "reading MCAP chunks compressed with zstd")
    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed)) as reader:
            return bytes(reader.read(size + 1))
    except zstandard.ZstdError as error:
        raise source.error(f"corrupt MCAP chunk: {error}") from None


def _lz4(source: Source, packed: bytes, size: int) -> bytes:
    lz4 = optional("lz4.frame", "ros", "reading MCAP chunks compressed with lz4")
    try:
        return bytes(lz4.LZ4FrameDecompressor().decompress(packed, max_length=size + 1))
    except (RuntimeError, ValueError, EOFError) as error:
        raise source.error(f"corrupt MCAP chunk: {error}") from None
