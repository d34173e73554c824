"""Read a torch checkpoint without running anything in it.

``torch.load`` either executes what the pickle says (``weights_only=False``) or fails on the foreign classes
that published checkpoints hold. Here a machine of our own builds plain data and references to tensors, which
are read one by one, after their sizes were compared with the file.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from foundry_edge.teachers.bounded import BoundedReader
from foundry_edge.teachers.globals import Globals
from foundry_edge.teachers.legacy_form import LegacyForm
from foundry_edge.teachers.machine import Machine
from foundry_edge.teachers.tensors import StorageRef, TensorRef, storage_ref
from foundry_edge.teachers.zip_form import ZipForm
from foundry_edge_runtime.errors import CheckpointError

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_DAMAGE = (ValueError, TypeError, LookupError, EOFError, ArithmeticError, RuntimeError, struct.error)
_UNREADABLE = (*_DAMAGE, OSError, zipfile.BadZipFile)
"""What the zip and pickle decoders raise; a zip directory can also name places that no file has."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is open for reading.

    Attributes:
        path: the file.
        root: the pickled object: dicts, lists, scalars, `TensorRef` and `Foreign` placeholders.
        foreign: names of unknown classes that became placeholders.
        form: reads storages.
    """

    path: Path
    root: Any
    foreign: tuple[str, ...]
    form: ZipForm | LegacyForm

    def check(self, name: str, ref: TensorRef) -> None:
        """Check that the file holds the tensor ``ref``, before anything is made from its size.

        Raises:
            CheckpointError: its bytes are not in the file, or of a type that is not understood.
        """
        try:
            if ref.storage.type.dtype is None:
                raise ValueError(f"its type {ref.storage.type.name} is not supported")
            if ref.numel > ref.storage.count:
                raise ValueError("it has more elements than its storage")
            self.form.check(ref.storage)
        except _DAMAGE as error:
            _damaged(self.path, error, f"tensor {name}: ")

    def read(self, name: str, ref: TensorRef) -> Tensor:
        """The tensor, contiguous and with memory of its own; floats of any width become float32.

        Raises:
            CheckpointError: damaged, not finite, or of a type that is not understood.
        """
        self.check(name, ref)
        try:
            tensor = _view(self.form.storage(ref.storage), ref)
        except _UNREADABLE as error:
            _damaged(self.path, error, f"tensor {name}: ")
        if not tensor.is_floating_point():
            return tensor
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"tensor {name} holds NaN or infinity",
                where=self.path,
                remedy="take another checkpoint of that run",
            )
        return tensor.float()


def _view(data: bytes, ref: TensorRef) -> Tensor:
    dtype = ref.storage.type.dtype
    if not ref.numel or dtype is None:
        return torch.empty(ref.shape, dtype=dtype)
    flat = torch.frombuffer(bytearray(data), dtype=dtype)
    return flat.as_strided(ref.shape, ref.stride, ref.offset).clone(memory_format=torch.contiguous_format)


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Open a .ckpt, .pth or .pt file that torch wrote, zip form or older.

    Nothing that the file names is imported or called. A name that could act in an ordinary loader refuses the
    file; any other unknown class becomes a placeholder.

    Raises:
        CheckpointError: not a torch checkpoint, truncated, damaged or hostile; names what was found.
    """
    path = Path(path)
    with _opened(path) as file:
        names = Globals(path)
        try:
            root, form = _read_root(file, names)
        except _UNREADABLE as error:
            _damaged(path, error)
        yield Checkpoint(path, root, tuple(names.foreign), form)


def _read_root(file: BoundedReader, names: Globals) -> tuple[Any, ZipForm | LegacyForm]:
    head = file.read(4)
    file.seek(0)
    if head == _ZIP:
        zipped = ZipForm(file)
        with zipped.pickled() as stream:
            root = Machine(names, storage_ref).run(stream)
            while stream.read(1 << 20):  # at its end the checksum is compared
                pass
        return root, zipped
    if not head.startswith(_PICKLE):
        raise ValueError("neither a zip archive nor a pickle")
    legacy = LegacyForm(file, lambda stream: Machine(names, noted).run(stream))

    def noted(identifier: object) -> StorageRef:
        storage = storage_ref(identifier)
        legacy.note(storage)
        return storage

    return legacy.root(), legacy


@contextmanager
def _opened(path: Path) -> Iterator[BoundedReader]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError("not a regular file", where=path, remedy="give a .ckpt or .pth file")
        file = io.FileIO(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CheckpointError(
            f"cannot be opened ({reason})", where=path, remedy="give a .ckpt or .pth file"
        ) from error
    with BoundedReader(file, os.fstat(file.fileno()).st_size) as reader:
        yield reader


def _damaged(path: Path, error: Exception, what: str = "") -> NoReturn:
    reason = " ".join(str(error).split())[:200]
    raise CheckpointError(
        f"{what}truncated, damaged or no torch checkpoint ({reason})", where=path, remedy="download it again"
    ) from error
