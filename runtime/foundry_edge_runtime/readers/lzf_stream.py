"""LZF data with a claimed size, for PCD binary_compressed."""

from __future__ import annotations

import lzf

from foundry_edge_runtime.readers.source import Source

_MAX_RATIO = 264 / 3
"""The longest LZF back reference writes 264 bytes for 3."""


def decompress(source: Source, packed: bytes, claimed: int) -> bytes:
    """Decompress to exactly ``claimed`` bytes.

    Raises:
        ScanError: the claim cannot be met by so few bytes, or the stream is corrupt.
    """
    if claimed > len(packed) * _MAX_RATIO + 1:
        raise source.error(
            f"size mismatch: {len(packed)} compressed bytes cannot hold "
            f"the uncompressed size of {claimed} bytes"
        )
    source.reserve(claimed)
    try:
        data: bytes | None = lzf.decompress(packed, claimed)
    except (ValueError, OSError, MemoryError):
        data = None
    if data is None or len(data) != claimed:
        found = "an invalid stream" if data is None else f"{len(data)} bytes"
        raise source.error(f"corrupt LZF data: expected to decompress to {claimed} bytes, found {found}")
    return data
