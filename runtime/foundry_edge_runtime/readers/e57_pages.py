"""The pages of an E57 file (ASTM E2807-11, section 9): 1020 bytes of data and their CRC-32C each."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.readers.source import ByteArray, Source

SIGNATURE = b"ASTM-E57"
PAGE, DATA = 1024, 1020
_HEADER = 48
_POLYNOMIAL = 0x82F63B78
_MAX_XML = 16 << 20


@dataclass(frozen=True)
class E57File:
    """The data of all pages, checksums verified, and the XML section."""

    data: ByteArray
    xml: bytes


def logical(physical: int) -> int:
    """Offset in the data of the pages for an offset in the file."""
    page, rest = divmod(physical, PAGE)
    return page * DATA + min(rest, DATA)


def read_pages(source: Source) -> E57File:
    """Check header and checksums and strip them.

    Raises:
        ScanError: a wrong signature or length, or a page whose checksum differs.
    """
    head = source.read(0, min(source.size, _HEADER))
    if head[:8] != SIGNATURE:
        raise source.error(f"not an E57 file: the signature is {head[:8]!r}")
    if len(head) < _HEADER:
        raise source.error(f"truncated: an E57 header is {_HEADER} bytes, the file has {source.size}")
    major, _, length, xml_offset, xml_length, page = struct.unpack_from("<IIQQQQ", head, 8)
    if major != 1 or page != PAGE:
        raise source.error(f"E57 version {major} with pages of {page} bytes: expected version 1 with {PAGE}")
    if length > source.size or length % PAGE or length == 0:
        raise source.error(
            f"truncated: the E57 header gives a length of {length} bytes, the file has {source.size}",
            "re-copy the file",
        )
    if length < source.size:
        source.warn(f"{source.size - length} trailing bytes after the last E57 page were ignored")
    source.reserve(4 * length)
    data = _verified(source, source.array(0, length).reshape(-1, PAGE))
    start = logical(xml_offset)
    if xml_length > min(_MAX_XML, len(data) - start):
        raise source.error(f"the XML section of {xml_length} bytes reaches beyond the end of the E57 file")
    return E57File(data, data[start : start + xml_length].tobytes())


def _verified(source: Source, pages: ByteArray) -> ByteArray:
    stored = np.ascontiguousarray(pages[:, DATA:]).view(">u4")[:, 0]
    wrong = np.flatnonzero(crc32c(pages[:, :DATA]) != stored)
    if len(wrong):
        raise source.error(
            f"corrupt E57: the checksum of page {wrong[0] + 1} of {len(pages)} differs", "re-copy it"
        )
    return np.ascontiguousarray(pages[:, :DATA]).reshape(-1)


def crc32c(rows: ByteArray) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """CRC-32C (Castagnoli) of each row of bytes, all rows at once."""
    table = _table()
    columns = np.ascontiguousarray(rows.T)
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in columns:
        crc = table[(crc ^ column) & 0xFF] ^ (crc >> 8)
    return crc ^ np.uint32(0xFFFFFFFF)


def _table() -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table
