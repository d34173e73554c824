"""Checkpoints in torch's zip form (torch 1.6 and later): data.pkl, and one stored entry per storage."""

from __future__ import annotations

import zipfile
from typing import IO

from foundry_edge.teachers.bounded import BoundedReader
from foundry_edge.teachers.tensors import StorageRef

MAX_DIRECTORY = 8 << 20
"""Bytes: that of a checkpoint with ten thousand tensors is below a quarter."""


class ZipForm:
    """One zip-form checkpoint.

    Args:
        file: at its start.

    Raises:
        ValueError, zipfile.BadZipFile: truncated, damaged, or no torch checkpoint.
    """

    def __init__(self, file: BoundedReader) -> None:
        self.size = file.size
        file.most = MAX_DIRECTORY
        self.archive = zipfile.ZipFile(file)
        file.most = None
        self.entries = {entry.filename: entry for entry in self.archive.infolist()}
        if len(self.entries) != len(self.archive.infolist()):
            raise ValueError("two entries of the zip archive have the same name")
        roots = [name for name in self.entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError("the zip archive holds no data.pkl; it is no torch checkpoint")
        self.prefix = roots[0].removesuffix("data.pkl")
        if self._optional("byteorder", b"little") != b"little":
            raise ValueError("the tensors are big-endian, which is not supported")

    def pickled(self) -> IO[bytes]:
        """The pickle; read to its end, its checksum is verified."""
        return self.archive.open(self._checked(self.prefix + "data.pkl"))

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
        return self.archive.read(self._checked(f"{self.prefix}data/{storage.key}"))

    def _optional(self, name: str, default: bytes) -> bytes:
        path = self.prefix + name
        if path not in self.entries:
            return default
        with self.archive.open(self._checked(path)) as stream:
            return stream.read(64).strip()

    def _checked(self, name: str) -> zipfile.ZipInfo:
        """An entry whose size is that of its bytes in the file."""
        entry = self.entries[name]
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise ValueError(f"entry {name} is compressed or encrypted, which torch never writes")
        if entry.file_size > self.size:
            raise ValueError(f"entry {name} claims {entry.file_size} bytes")
        return entry
