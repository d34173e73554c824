"""Several tensors in one piece of page-locked memory, so that one copy moves them all."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from foundry_edge_runtime.backends.cuda.device import Device, DeviceBuffer, Stream
from foundry_edge_runtime.pointcloud import FloatArray

Shape = tuple[int, ...]
_ALIGNMENT = 256  # bytes; what TensorRT asks of the addresses of tensors
_FLOAT = np.dtype(np.float32).itemsize


class Arena:
    """Float32 tensors on both sides; to be made with the context current.

    On a GPU that shares the CPU's memory both sides are the same bytes, and copying does nothing.

    Args:
        device: whose.
        shapes: of the tensors.

    Attributes:
        views: name -> the host side.
        addresses: name -> the device side.

    Raises:
        BackendError: out of memory.
    """

    def __init__(self, device: Device, shapes: Mapping[str, Shape]) -> None:
        starts, size = _places(shapes)
        self._host = device.host_buffer(size, mapped=device.mapped)
        self._memory: DeviceBuffer | None = None
        if not device.mapped:
            try:
                self._memory = device.buffer(size)
            except BaseException:
                self._host.close()
                raise
        base = self._host.address if self._memory is None else self._memory.address
        self.addresses: Mapping[str, int] = {name: base + start for name, start in starts.items()}
        self.views: dict[str, FloatArray] = {
            name: self._host.data[start : start + _bytes(shapes[name])].view(np.float32).reshape(shapes[name])
            for name, start in starts.items()
        }

    def copy_in(self, stream: Stream) -> None:
        """Begin to bring the host side to the device."""
        if self._memory is not None:
            stream.copy_in(self._memory, self._host)

    def copy_out(self, stream: Stream) -> None:
        """Begin to bring the device side to the host."""
        if self._memory is not None:
            stream.copy_out(self._host, self._memory)

    def close(self) -> None:
        """Free both sides; the views must not be touched afterwards."""
        self.views.clear()
        try:
            if self._memory is not None:
                self._memory.close()
        finally:
            self._host.close()


def _places(shapes: Mapping[str, Shape]) -> tuple[dict[str, int], int]:
    """Where each tensor begins, and the size of all; every place is aligned."""
    starts: dict[str, int] = {}
    size = 0
    for name, shape in shapes.items():
        starts[name] = size
        size += -(-_bytes(shape) // _ALIGNMENT) * _ALIGNMENT
    return starts, size


def _bytes(shape: Shape) -> int:
    return math.prod(shape) * _FLOAT
