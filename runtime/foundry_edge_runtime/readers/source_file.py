"""A `Source` as a binary file object, for libraries that read from one."""

from __future__ import annotations

import io
from typing import Any

from foundry_edge_runtime.readers.source import Source


class SourceFile(io.RawIOBase):
    """Seekable and read-only; never opens or closes anything itself."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Offset from the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; offsets before the start raise ValueError, as files do."""
        base = (0, self._position, self._source.size)[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the source reaches."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._source.size - self._position))
        view[:count] = self._source.read(self._position, count)
        self._position += count
        return count
