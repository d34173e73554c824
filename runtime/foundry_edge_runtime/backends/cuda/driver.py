"""What an engine needs of CUDA: the calls of the driver API that both cuda-python and pycuda have.

Handles are whatever the library behind it hands out; only the driver they came from looks into them. Who
frees what, and when, is decided in one place for both (``device.py``). Every call but ``attributes`` and
``push`` needs the context to be current in the calling thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.errors import first_line

FULL = "close other programs that use the GPU, or take a smaller batch"
"""The remedy when device memory runs out."""
Handle = Any
Bytes = npt.NDArray[np.uint8]
Argument = np.uint64 | np.int32
"""Of a kernel: a device address or a number."""


@dataclass(frozen=True)
class Kernel:
    """How a function of a module is to be run.

    Attributes:
        name: of the function.
        blocks, threads: how many, and how many of each block; in one dimension.
        shared: bytes of shared memory for each block.
        arguments: in the order of the function's parameters, and of their types.
    """

    name: str
    blocks: int
    threads: int
    shared: int
    arguments: Sequence[Argument]


@dataclass(frozen=True)
class Attributes:
    """What a GPU is.

    Attributes:
        name: for example "NVIDIA H100 80GB HBM3".
        compute_capability: for example (8, 7).
        integrated: whether it shares the memory of the CPU (a Jetson), so that copies are needless.
        can_map: whether host memory can be mapped into its address space.
        memory: bytes.
        driver: version of CUDA that the driver supports, for example 13000.
    """

    name: str
    compute_capability: tuple[int, int]
    integrated: bool
    can_map: bool
    memory: int
    driver: int


def unimportable(error: ImportError | OSError) -> str:
    """Why a library cannot be imported: it is not installed, or what it says itself."""
    if isinstance(error, ModuleNotFoundError):
        return "not installed"
    return f"cannot be imported: {first_line(error)}"


class Driver(Protocol):
    """One GPU with its primary context retained.

    Every method raises `BackendError` when memory runs out, and `DeviceError` when CUDA refuses otherwise.
    """

    @property
    def name(self) -> str:
        """The library: "cuda-python" or "pycuda"."""

    @property
    def can_capture(self) -> bool:
        """Whether the library has the calls for CUDA graphs."""

    def attributes(self) -> Attributes:
        """What the GPU is."""

    def push(self) -> None:
        """Make the primary context current in this thread."""

    def pop(self) -> None:
        """Make current again what was before `push`."""

    def release(self) -> None:
        """Give the primary context back; nothing may be called afterwards."""

    def create_stream(self) -> Handle:
        """A stream that does not wait for the default stream."""

    def destroy_stream(self, stream: Handle) -> None:
        """Free a stream."""

    def stream_number(self, stream: Handle) -> int:
        """The ``cudaStream_t`` as an integer, as TensorRT takes it."""

    def synchronise(self, stream: Handle) -> None:
        """Wait for all work of a stream; errors of that work come up here."""

    def allocate(self, size: int) -> Handle:
        """Device memory of ``size`` bytes."""

    def free(self, memory: Handle) -> None:
        """Free device memory."""

    def address(self, memory: Handle) -> int:
        """Device address of device memory."""

    def allocate_host(self, size: int, mapped: bool) -> tuple[Handle, Bytes]:
        """Page-locked host memory and its ``size`` bytes; mapped: the device sees it, too."""

    def free_host(self, memory: Handle) -> None:
        """Free page-locked memory; its array must not be touched afterwards."""

    def host_address(self, memory: Handle) -> int:
        """Device address of mapped host memory."""

    def copy_in(self, memory: Handle, source: Bytes, stream: Handle) -> None:
        """Begin to copy page-locked bytes to the device."""

    def copy_out(self, target: Bytes, memory: Handle, stream: Handle) -> None:
        """Begin to copy device memory to page-locked bytes."""

    def create_event(self) -> Handle:
        """A mark in a stream that knows its time."""

    def destroy_event(self, event: Handle) -> None:
        """Free an event."""

    def record(self, event: Handle, stream: Handle) -> None:
        """Set the mark behind the work given to the stream so far."""

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Milliseconds between two marks that were passed."""

    def begin_capture(self, stream: Handle) -> None:
        """From now on note what is given to the stream instead of doing it."""

    def end_capture(self, stream: Handle) -> Handle:
        """What was noted, ready to be launched; raises when something could not be noted."""

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Give all that was noted to a stream in one call."""

    def destroy_graph(self, graph: Handle) -> None:
        """Free a graph."""

    def compile(self, source: str, capability: tuple[int, int]) -> bytes:
        """Machine code of CUDA C++ for a compute capability; no product and sum are fused.

        No context is needed. Raises `BackendError`, and no `DeviceError`, when there is no compiler or it
        refuses.
        """

    def load_module(self, code: bytes) -> Handle:
        """Put machine code onto the device."""

    def unload_module(self, module: Handle) -> None:
        """Take it off."""

    def run_kernel(self, module: Handle, kernel: Kernel, stream: Handle) -> None:
        """Begin to run a function of a module."""
