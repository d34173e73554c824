"""Tensors of a checkpoint by reference: sizes are checked before anything is read or allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
}
"""Storage classes whose bytes are understood; tensors over any other cannot be read."""

MAX_DIMENSIONS = 64


@dataclass(frozen=True)
class StorageType:
    """The name of a storage class, with what it holds (None: not understood)."""

    name: str
    dtype: torch.dtype | None


@dataclass(frozen=True)
class StorageRef:
    """One storage of the file: its key there, its type, and how many elements the file claims."""

    key: str
    type: StorageType
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes that ``count`` elements take; 0 where the type is not understood."""
        return self.count * self.type.dtype.itemsize if self.type.dtype else 0


@dataclass(frozen=True)
class TensorRef:
    """A strided view of a storage, not yet read.

    Raises:
        ValueError: the view leaves its storage, or a size is negative.
    """

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = (self.offset, *self.shape, *self.stride)
        if not all(isinstance(value, int) and 0 <= value < 2**63 for value in whole):
            raise ValueError("a tensor's size, stride or offset is no whole number")
        if len(self.shape) != len(self.stride) or len(self.shape) > MAX_DIMENSIONS:
            raise ValueError("a tensor has as many strides as sizes, and a few")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if self.numel and last >= self.storage.count:
            raise ValueError(f"a tensor of size {list(self.shape)} leaves its storage")

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def storage_ref(identifier: object) -> StorageRef:
    """The storage that a persistent id ``("storage", type, key, location, count[, view])`` stands for.

    Raises:
        ValueError: the id has another form.
    """
    match identifier:
        case ("storage", StorageType() as kind, str(key), _, int(count), *_) if count >= 0:
            return StorageRef(key, kind, count)
    raise ValueError("a persistent id is no tensor storage")


def rebuild_tensor(
    storage: StorageRef, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> TensorRef:
    """What ``torch._utils._rebuild_tensor_v2`` stands for; gradient flag and hooks are left out.

    Raises:
        TypeError: the first argument is no storage.
        ValueError: the view leaves its storage.
    """
    if not isinstance(storage, StorageRef):
        raise TypeError("a tensor is not made from a storage")
    return TensorRef(storage, offset, tuple(size), tuple(stride))


def rebuild_parameter(data: TensorRef, *_: object) -> TensorRef:
    """What ``torch._utils._rebuild_parameter`` stands for: the tensor itself."""
    return data
