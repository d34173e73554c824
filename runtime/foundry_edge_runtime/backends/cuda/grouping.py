"""Grouping on the GPU: the kernels of ``grouping.cu``, and whether they may be used here."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundry_edge_runtime.backends.cuda.device import Device, Stream
from foundry_edge_runtime.backends.cuda.driver import Driver, Kernel
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing

VARIABLE = "FOUNDRY_EDGE_GPU_GROUPING"
"""Set to 0 in the environment, groups are made on the CPU."""
_SOURCE = Path(__file__).with_name("grouping.cu")
_SAMPLING_THREADS, _SORTING_THREADS = 256, 128
_SHARED = 48 << 10  # bytes that a block of any GPU has without asking
_KEY, _POINT = 8, 16  # bytes of shared memory for a key, and for a point while clouds are sampled
POINTS = (_SHARED - _KEY * _SAMPLING_THREADS) // _POINT
"""Most points of a sampled cloud, 2944; the sort of the neighbours takes more."""
_code: dict[tuple[str, tuple[int, int]], bytes] = {}
_lock = threading.Lock()


def switched_on() -> bool:
    """Whether the environment leaves grouping to the GPU."""
    return os.environ.get(VARIABLE) != "0"


@dataclass(frozen=True)
class Places:
    """Device addresses of what the kernels read and write, for B clouds.

    Attributes:
        points: (B, N, 3) float32, sampled and normalised.
        starts: (B,) int32, the index of the first sample.
        chosen: (B, c) int32, room for the indices of the centres.
        groups: (B, c, K, 3) float32, coordinates relative to their centre.
        centers: (B, c, 3) float32.
    """

    points: int
    starts: int
    chosen: int
    groups: int
    centers: int


class GroupingKernels:
    """The kernels on a device, for clouds of one kind; made with the context current.

    Args:
        device: whose; it frees them at the latest when it is closed.
        spec: N, c and K.

    Attributes:
        spec: as given.

    Raises:
        BackendError: the kernels do not take such clouds, cannot be compiled here, or CUDA refuses.
    """

    def __init__(self, device: Device, spec: Preprocessing) -> None:
        if not spec.group_size <= spec.points <= POINTS:
            raise BackendError(
                f"{spec.points} points in groups of {spec.group_size}: the kernels take at most {POINTS}, "
                "and no more in a group"
            )
        self.spec = spec
        self._module = device.module(_compiled(device.driver, device.attributes.compute_capability))

    def group(self, stream: Stream, clouds: int, at: Places) -> None:
        """Begin to group clouds; can be captured.

        Raises:
            BackendError: CUDA refuses.
        """
        points, groups, size = (
            np.int32(n) for n in (self.spec.points, self.spec.groups, self.spec.group_size)
        )
        read = np.uint64(at.points), np.uint64(at.starts), np.uint64(at.chosen)
        room = _KEY * _SAMPLING_THREADS + _POINT * self.spec.points
        stream.run(
            self._module,
            Kernel("farthest_points", clouds, _SAMPLING_THREADS, room, (*read, points, groups)),
        )
        written = np.uint64(at.chosen), np.uint64(at.groups), np.uint64(at.centers)
        stream.run(
            self._module,
            Kernel(
                "nearest_points",
                clouds * self.spec.groups,
                _SORTING_THREADS,
                _KEY * _power_of_two(self.spec.points),
                (read[0], *written, points, groups, size),
            ),
        )

    def close(self) -> None:
        """Take them off the device; what they were given to do must be done."""
        self._module.close()


def _compiled(driver: Driver, capability: tuple[int, int]) -> bytes:
    """Machine code of the kernels, compiled once in a process."""
    with _lock:
        key = (driver.name, capability)
        if key not in _code:
            _code[key] = driver.compile(_SOURCE.read_text(encoding="utf-8"), capability)
        return _code[key]


def _power_of_two(count: int) -> int:
    """The first that is not below a number."""
    return 1 << (count - 1).bit_length()
