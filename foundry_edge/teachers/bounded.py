"""Reading a file without ever asking for more than it holds."""

from __future__ import annotations

import io


class BoundedReader(io.BufferedReader):
    """A buffered file; a read that claims more than is left gets what is left, and allocates no more.

    Args:
        file: opened for reading, at its start.
        size: of the file, bytes.
    """

    def __init__(self, file: io.FileIO, size: int) -> None:
        super().__init__(file)
        self.size = size
        self.most: int | None = None
        """While it is set, a read of more bytes than this is an error."""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes.

        Raises:
            ValueError: ``size`` exceeds ``most``.
        """
        if self.most is not None and size is not None and size > self.most:
            raise ValueError(f"{size} bytes are claimed where a checkpoint has at most {self.most}")
        left = max(self.size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))
