"""The driver interface through pycuda, without ``pycuda.autoinit``: the primary context, pushed and popped.

pycuda frees streams, events and modules when their objects go, and needs the context to be current then;
memory has a ``free()``. It has no calls for the capture of CUDA graphs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from foundry_edge_runtime.backends.cuda.driver import FULL, Attributes, Bytes, Handle, Kernel, unimportable
from foundry_edge_runtime.errors import BackendError, DeviceError, first_line

_NAME = "pycuda"
EXACT = ["--fmad=false", "--ftz=false"]
"""What keeps nvcc from fusing products and sums, and from dropping the smallest numbers."""
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, which pycuda does not name


class PyCuda:
    """See `Driver`.

    Args:
        ordinal: number of the GPU among those that CUDA_VISIBLE_DEVICES shows.

    Raises:
        BackendError: the library, the driver or the GPU is missing, or CUDA refuses.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self._cu = _library()
        with self._errors():
            self._cu.init()
            self._device = self._cu.Device(ordinal)
            self._context = self._device.retain_primary_context()

    @property
    def name(self) -> str:
        """``pycuda``."""
        return _NAME

    @property
    def can_capture(self) -> bool:
        """Never."""
        return False

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """pycuda's exceptions, which are all of one family, as ours."""
        try:
            yield
        except self._cu.Error as error:
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> BackendError:
        if isinstance(error, self._cu.MemoryError):
            return BackendError(first_line(error), where=_NAME, remedy=FULL)
        return DeviceError(first_line(error), where=_NAME)

    def attributes(self) -> Attributes:
        """See `Driver.attributes`."""
        known = self._cu.device_attribute
        with self._errors():
            major, minor = self._device.compute_capability()
            return Attributes(
                name=self._device.name(),
                compute_capability=(major, minor),
                integrated=bool(self._device.get_attribute(known.INTEGRATED)),
                can_map=bool(self._device.get_attribute(known.CAN_MAP_HOST_MEMORY)),
                memory=int(self._device.total_memory()),
                driver=int(self._cu.get_driver_version()),
            )

    def push(self) -> None:
        """See `Driver.push`."""
        with self._errors():
            self._context.push()

    def pop(self) -> None:
        """See `Driver.pop`."""
        with self._errors():
            self._cu.Context.pop()

    def release(self) -> None:
        """See `Driver.release`.

        pycuda gives a context back only where it is current or where it was made, and in the second case
        leaves it current; so it is made current first, in whatever thread this is.
        """
        with self._errors():
            self._context.push()
            self._context.detach()

    def create_stream(self) -> Handle:
        """See `Driver.create_stream`."""
        with self._errors():
            return [self._cu.Stream(_NON_BLOCKING)]

    def destroy_stream(self, stream: Handle) -> None:
        """See `Driver.destroy_stream`."""
        stream.clear()

    def stream_number(self, stream: Handle) -> int:
        """See `Driver.stream_number`."""
        return int(stream[0].handle)

    def synchronise(self, stream: Handle) -> None:
        """See `Driver.synchronise`."""
        with self._errors():
            stream[0].synchronize()

    def allocate(self, size: int) -> Handle:
        """See `Driver.allocate`."""
        with self._errors():
            return self._cu.mem_alloc(size)

    def free(self, memory: Handle) -> None:
        """See `Driver.free`."""
        with self._errors():
            memory.free()

    def address(self, memory: Handle) -> int:
        """See `Driver.address`."""
        return int(memory)

    def allocate_host(self, size: int, mapped: bool) -> tuple[Handle, Bytes]:
        """See `Driver.allocate_host`; the array's base is the allocation."""
        flags = self._cu.host_alloc_flags.DEVICEMAP if mapped else 0
        with self._errors():
            array = self._cu.pagelocked_empty(size, np.uint8, mem_flags=flags)
        return array.base, array

    def free_host(self, memory: Handle) -> None:
        """See `Driver.free_host`."""
        with self._errors():
            memory.free()

    def host_address(self, memory: Handle) -> int:
        """See `Driver.host_address`."""
        with self._errors():
            return int(memory.get_device_pointer())

    def copy_in(self, memory: Handle, source: Bytes, stream: Handle) -> None:
        """See `Driver.copy_in`."""
        with self._errors():
            self._cu.memcpy_htod_async(memory, source, stream[0])

    def copy_out(self, target: Bytes, memory: Handle, stream: Handle) -> None:
        """See `Driver.copy_out`."""
        with self._errors():
            self._cu.memcpy_dtoh_async(target, memory, stream[0])

    def create_event(self) -> Handle:
        """See `Driver.create_event`."""
        with self._errors():
            return [self._cu.Event()]

    def destroy_event(self, event: Handle) -> None:
        """See `Driver.destroy_event`."""
        event.clear()

    def record(self, event: Handle, stream: Handle) -> None:
        """See `Driver.record`."""
        with self._errors():
            event[0].record(stream[0])

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """See `Driver.elapsed_ms`."""
        with self._errors():
            return float(start[0].time_till(end[0]))

    def begin_capture(self, stream: Handle) -> None:
        """There is no such call in pycuda."""
        raise BackendError("pycuda has no calls for CUDA graphs", where=_NAME, remedy="install cuda-python")

    def end_capture(self, stream: Handle) -> Handle:
        """There is no such call in pycuda."""
        self.begin_capture(stream)

    def launch(self, graph: Handle, stream: Handle) -> None:
        """There is no such call in pycuda."""
        self.begin_capture(stream)

    def destroy_graph(self, graph: Handle) -> None:
        """There are no graphs to free."""

    def compile(self, source: str, capability: tuple[int, int]) -> bytes:
        """See `Driver.compile`; pycuda calls ``nvcc`` and keeps what it made in a cache of its own."""
        target = "sm_{}{}".format(*capability)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of whatever nvcc says when all went well
                compiler = import_module("pycuda.compiler")
                code: bytes = compiler.compile(source, options=EXACT, no_extern_c=True, arch=target)
        except (ImportError, OSError, self._cu.Error) as error:
            problem = f"the kernels cannot be compiled: {first_line(error)}"
            raise BackendError(
                problem, where=_NAME, remedy="put the CUDA toolkit's nvcc on the PATH"
            ) from error
        return code

    def load_module(self, code: bytes) -> Handle:
        """See `Driver.load_module`."""
        with self._errors():
            return [self._cu.module_from_buffer(code)]

    def unload_module(self, module: Handle) -> None:
        """See `Driver.unload_module`."""
        module.clear()

    def run_kernel(self, module: Handle, kernel: Kernel, stream: Handle) -> None:
        """See `Driver.run_kernel`.

        A function keeps its module alive, and the traceback of pycuda's error the function: neither is kept,
        so that the module goes while the context is there.
        """
        try:
            _begin(module[0].get_function(kernel.name), kernel, stream[0])
        except self._cu.Error as error:
            refusal = self._ours(error)
        else:
            return
        raise refusal


def _begin(function: Any, kernel: Kernel, stream: Any) -> None:
    function.prepare([value.dtype for value in kernel.arguments])
    grid, block = (kernel.blocks, 1), (kernel.threads, 1, 1)
    function.prepared_async_call(grid, block, stream, *kernel.arguments, shared_size=kernel.shared)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a missing driver, and raises as well
            return import_module("pycuda.driver")
    except (ImportError, OSError) as error:
        raise BackendError(unimportable(error), where=_NAME, remedy="pip install pycuda") from error
