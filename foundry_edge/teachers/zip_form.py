"""Checkpoints in torch's zip form (torch 1.6 and later): data.pkl, and one stored entry per storage."""

from __future__ import annotations

import io
import zipfile
from typing import BinaryIO

from foundry_edge.teachers.tensors import StorageRef

MAX_PICKLE = 16 << 20
MAX_DIRECTORY = 8 << 20
"""Bytes: those of a checkpoint with ten thousand tensors are below both."""


class _Directory(io.BufferedReader):
    """A file of which no more than ``MAX_DIRECTORY`` bytes are read at once while ``zipfile`` opens it."""

    limited = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.limited and size is not None and size > MAX_DIRECTORY:
            raise ValueError("the zip directory is too large for a checkpoint")
        return super().read(size)


class ZipForm:
    """One zip-form checkpoint.

    Args:
        file: opened for reading, unbuffered.
        size: of the file, bytes.

    Raises:
        ValueError, zipfile.BadZipFile: truncated, damaged, or no torch checkpoint.
    """

    def __init__(self, file: io.FileIO, size: int) -> None:
        self.size = size
        buffered = _Directory(file)
        self.archive = zipfile.ZipFile(buffered)
        buffered.limited = False
        self.entries = {entry.filename: entry for entry in self.archive.infolist()}
        if len(self.entries) != len(self.archive.infolist()):
            raise ValueError("two entries of the zip archive have the same name")
        roots = [name for name in self.entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError("the zip archive holds no data.pkl; it is no torch checkpoint")
        self.prefix = roots[0].removesuffix("data.pkl")
        if self._optional("byteorder", b"little") != b"little":
            raise ValueError("the tensors are big-endian, which is not supported")

    def pickled(self) -> BinaryIO:
        """The pickle."""
        return io.BytesIO(self._read(self.prefix + "data.pkl", MAX_PICKLE))

    def check(self, storage: StorageRef) -> None:
        """Compare what the pickle claims of a storage with the entry that holds it.

        Raises:
            ValueError: it is missing, or of another size.
        """
        entry = self.entries.get(f"{self.prefix}data/{storage.key}")
        if entry is None:
            raise ValueError(f"storage {storage.key} is missing")
        if entry.file_size != storage.nbytes:
            raise ValueError(
                f"storage {storage.key} has {entry.file_size} bytes, the pickle claims {storage.nbytes}"
            )

    def storage(self, storage: StorageRef) -> bytes:
        """The bytes of a storage; zip's checksum is verified."""
        self.check(storage)
        return self._read(f"{self.prefix}data/{storage.key}", self.size)

    def _optional(self, name: str, default: bytes) -> bytes:
        return self._read(self.prefix + name, 64).strip() if self.prefix + name in self.entries else default

    def _read(self, name: str, limit: int) -> bytes:
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"entry {name} is compressed or encrypted, which torch never writes")
        if entry.file_size > min(limit, self.size):
            raise ValueError(f"entry {name} claims {entry.file_size} bytes")
        return self.archive.read(entry)
