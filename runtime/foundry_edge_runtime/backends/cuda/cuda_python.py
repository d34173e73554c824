"""The driver interface through cuda-python (``cuda.bindings.driver``, releases 12.6 and newer)."""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import Any

import numpy as np

from foundry_edge_runtime.backends.cuda import nvrtc
from foundry_edge_runtime.backends.cuda.driver import FULL, Attributes, Bytes, Handle, Kernel, unimportable
from foundry_edge_runtime.errors import BackendError, DeviceError

_NAME = "cuda-python"
_DRIVER = "check that the NVIDIA driver is installed and that this process may use the GPU"


class CudaPython:
    """See `Driver`.

    Args:
        ordinal: number of the GPU among those that CUDA_VISIBLE_DEVICES shows.

    Raises:
        BackendError: the library, the driver or the GPU is missing, or CUDA refuses.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self._cu = _library()
        try:
            self._call("cuInit", 0)
        except BackendError:
            raise
        except Exception as error:  # each release has its own exception for a libcuda that is not there
            problem = f"no NVIDIA driver, libcuda cannot be loaded ({type(error).__name__})"
            raise BackendError(problem, where=_NAME, remedy=_DRIVER) from error
        self._device = self._call("cuDeviceGet", ordinal)
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)

    @property
    def name(self) -> str:
        """``cuda-python``."""
        return _NAME

    @property
    def can_capture(self) -> bool:
        """Always."""
        return True

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call the driver; each call gives its status first, then its results."""
        status, *results = getattr(self._cu, name)(*arguments)
        if status != self._cu.CUresult.CUDA_SUCCESS:
            word = getattr(status, "name", str(status))
            raise _error(f"{name} failed: {word}", word)
        return results[0] if len(results) == 1 else tuple(results)

    def attributes(self) -> Attributes:
        """See `Driver.attributes`."""
        known = self._cu.CUdevice_attribute
        capability = (
            self._attribute(known.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(known.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )
        return Attributes(
            name=self._call("cuDeviceGetName", 256, self._device).split(b"\0")[0].decode(errors="replace"),
            compute_capability=capability,
            integrated=bool(self._attribute(known.CU_DEVICE_ATTRIBUTE_INTEGRATED)),
            can_map=bool(self._attribute(known.CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY)),
            memory=int(self._call("cuDeviceTotalMem", self._device)),
            driver=int(self._call("cuDriverGetVersion")),
        )

    def _attribute(self, attribute: Any) -> int:
        return int(self._call("cuDeviceGetAttribute", attribute, self._device))

    def push(self) -> None:
        """See `Driver.push`."""
        self._call("cuCtxPushCurrent", self._context)

    def pop(self) -> None:
        """See `Driver.pop`."""
        self._call("cuCtxPopCurrent")

    def release(self) -> None:
        """See `Driver.release`."""
        self._call("cuDevicePrimaryCtxRelease", self._device)

    def create_stream(self) -> Handle:
        """See `Driver.create_stream`."""
        return self._call("cuStreamCreate", int(self._cu.CUstream_flags.CU_STREAM_NON_BLOCKING))

    def destroy_stream(self, stream: Handle) -> None:
        """See `Driver.destroy_stream`."""
        self._call("cuStreamDestroy", stream)

    def stream_number(self, stream: Handle) -> int:
        """See `Driver.stream_number`."""
        return int(stream)

    def synchronise(self, stream: Handle) -> None:
        """See `Driver.synchronise`."""
        self._call("cuStreamSynchronize", stream)

    def allocate(self, size: int) -> Handle:
        """See `Driver.allocate`."""
        return self._call("cuMemAlloc", size)

    def free(self, memory: Handle) -> None:
        """See `Driver.free`."""
        self._call("cuMemFree", memory)

    def address(self, memory: Handle) -> int:
        """See `Driver.address`."""
        return int(memory)

    def allocate_host(self, size: int, mapped: bool) -> tuple[Handle, Bytes]:
        """See `Driver.allocate_host`."""
        pointer = int(self._call("cuMemHostAlloc", size, int(self._cu.CU_MEMHOSTALLOC_DEVICEMAP) * mapped))
        return pointer, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

    def free_host(self, memory: Handle) -> None:
        """See `Driver.free_host`."""
        self._call("cuMemFreeHost", memory)

    def host_address(self, memory: Handle) -> int:
        """See `Driver.host_address`."""
        return int(self._call("cuMemHostGetDevicePointer", memory, 0))

    def copy_in(self, memory: Handle, source: Bytes, stream: Handle) -> None:
        """See `Driver.copy_in`."""
        self._call("cuMemcpyHtoDAsync", memory, source.ctypes.data, source.nbytes, stream)

    def copy_out(self, target: Bytes, memory: Handle, stream: Handle) -> None:
        """See `Driver.copy_out`."""
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, memory, target.nbytes, stream)

    def create_event(self) -> Handle:
        """See `Driver.create_event`."""
        return self._call("cuEventCreate", int(self._cu.CUevent_flags.CU_EVENT_DEFAULT))

    def destroy_event(self, event: Handle) -> None:
        """See `Driver.destroy_event`."""
        self._call("cuEventDestroy", event)

    def record(self, event: Handle, stream: Handle) -> None:
        """See `Driver.record`."""
        self._call("cuEventRecord", event, stream)

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """See `Driver.elapsed_ms`."""
        return float(self._call("cuEventElapsedTime", start, end))

    def begin_capture(self, stream: Handle) -> None:
        """See `Driver.begin_capture`; other threads may go on meanwhile."""
        mode = self._cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Handle) -> Handle:
        """See `Driver.end_capture`."""
        noted = self._call("cuStreamEndCapture", stream)
        try:
            return noted, self._call("cuGraphInstantiate", noted, 0)
        except BackendError:
            self._call("cuGraphDestroy", noted)
            raise

    def launch(self, graph: Handle, stream: Handle) -> None:
        """See `Driver.launch`."""
        self._call("cuGraphLaunch", graph[1], stream)

    def destroy_graph(self, graph: Handle) -> None:
        """See `Driver.destroy_graph`."""
        noted, executable = graph
        try:
            self._call("cuGraphExecDestroy", executable)
        finally:
            self._call("cuGraphDestroy", noted)

    def compile(self, source: str, capability: tuple[int, int]) -> bytes:
        """See `Driver.compile`."""
        return nvrtc.compile_source(source, capability)

    def load_module(self, code: bytes) -> Handle:
        """See `Driver.load_module`."""
        return self._call("cuModuleLoadData", code)

    def unload_module(self, module: Handle) -> None:
        """See `Driver.unload_module`."""
        self._call("cuModuleUnload", module)

    def run_kernel(self, module: Handle, kernel: Kernel, stream: Handle) -> None:
        """See `Driver.run_kernel`; the driver copies the arguments before it returns."""
        function = self._call("cuModuleGetFunction", module, kernel.name.encode())
        values = tuple(int(value) for value in kernel.arguments)
        types = tuple(np.ctypeslib.as_ctypes_type(value.dtype) for value in kernel.arguments)
        grid, block = (kernel.blocks, 1, 1), (kernel.threads, 1, 1)
        self._call("cuLaunchKernel", function, *grid, *block, kernel.shared, stream, (values, types), 0)


def _library() -> Any:
    try:
        return import_module("cuda.bindings.driver")
    except (ImportError, OSError) as error:
        raise BackendError(unimportable(error), where=_NAME, remedy="pip install cuda-python") from error


def _error(problem: str, word: str) -> BackendError:
    if word == "CUDA_ERROR_OUT_OF_MEMORY":
        return BackendError(problem, where=_NAME, remedy=FULL)
    remedy = _DRIVER if word in {"CUDA_ERROR_NO_DEVICE", "CUDA_ERROR_INVALID_DEVICE"} else ""
    return DeviceError(problem, where=_NAME, remedy=remedy)
