"""Checkpoints in torch's older form (before torch 1.6): pickles one after the other, then raw storages.

Magic number, protocol version, system information, the object, the list of storage keys; then for each key
its number of elements (int64) and its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import IO, Any

from foundry_edge.teachers.bounded import BoundedReader
from foundry_edge.teachers.tensors import StorageRef

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class LegacyForm:
    """One legacy checkpoint.

    Args:
        file: at its start.
        run: runs the pickle at the file's position.
    """

    def __init__(self, file: BoundedReader, run: Callable[[IO[bytes]], Any]) -> None:
        self.file, self.run = file, run
        self.claimed: dict[str, StorageRef] = {}
        self.places: dict[str, int] = {}

    def root(self) -> Any:
        """The object.

        Raises:
            ValueError: not of this form, truncated, or storages do not fit the file.
        """
        if self.run(self.file) != MAGIC or self.run(self.file) != PROTOCOL:
            raise ValueError("the pickle does not start as a torch checkpoint does")
        system = self.run(self.file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("the tensors are big-endian, which is not supported")
        root = self.run(self.file)
        self._locate(self.run(self.file))
        return root

    def note(self, storage: StorageRef) -> None:
        """Remember a storage that the pickle names: its size says where the next one starts."""
        if self.claimed.setdefault(storage.key, storage) != storage:
            raise ValueError(f"storage {storage.key} is named with two types or sizes")

    def _locate(self, keys: Any) -> None:
        if not isinstance(keys, list):
            raise ValueError("the list of storage keys is missing")
        for key in keys:
            if not isinstance(key, str) or key not in self.claimed or not self.claimed[key].type.dtype:
                raise ValueError("a storage is listed that no tensor uses, or of an unknown type")
            (count,) = struct.unpack("<q", self._exactly(8))
            if count != self.claimed[key].count:
                raise ValueError(f"storage {key} has {count} elements, expected {self.claimed[key].count}")
            self.places[key] = self.file.tell()
            self.file.seek(self.claimed[key].nbytes, 1)
            if self.file.tell() > self.file.size:
                raise ValueError(f"the file ends within storage {key}")

    def check(self, storage: StorageRef) -> None:
        """Raise ValueError when the file does not hold the storage."""
        if storage.key not in self.places:
            raise ValueError(f"storage {storage.key} is missing")

    def storage(self, storage: StorageRef) -> bytes:
        """The bytes of a storage."""
        self.check(storage)
        self.file.seek(self.places[storage.key])
        return self._exactly(storage.nbytes)

    def _exactly(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError("the file ends early")
        return data
