"""`cuda.bindings.driver` on top of a `FakeGpu`: each call gives its status first."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from types import ModuleType
from typing import Any

from tests.runtime.fake_cuda import FakeGpu, Refused, Stream


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


class CUdevice_attribute(IntEnum):  # noqa: N801 - NVIDIA's name
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18
    CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY = 19


class CUstream_flags(IntEnum):  # noqa: N801
    CU_STREAM_NON_BLOCKING = 1


class CUevent_flags(IntEnum):  # noqa: N801
    CU_EVENT_DEFAULT = 0


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


def cuda_python(gpu: FakeGpu) -> ModuleType:
    """The module."""
    module: Any = ModuleType("cuda.bindings.driver")
    for kind in (CUresult, CUdevice_attribute, CUstream_flags, CUevent_flags, CUstreamCaptureMode):
        setattr(module, kind.__name__, kind)
    module.CU_MEMHOSTALLOC_DEVICEMAP = 2
    for calls in (_device_calls(gpu), _memory_calls(gpu), _stream_calls(gpu), _module_calls(gpu)):
        for name, work in calls.items():
            setattr(module, name, _with_status(gpu, work))
    found: ModuleType = module
    return found


def _with_status(gpu: FakeGpu, work: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    def call(*arguments: Any) -> tuple[Any, ...]:
        with gpu.lock:
            try:
                result = work(*arguments)
            except Refused as error:
                return (CUresult[str(error)], None)
        return (CUresult.CUDA_SUCCESS,) if result is None else (CUresult.CUDA_SUCCESS, result)

    return call


def _device_calls(gpu: FakeGpu) -> dict[str, Callable[..., Any]]:
    def retain(_device: int) -> int:
        gpu.retain()
        return 1

    def known(_device: int) -> bytes:
        gpu.call("name", context=False)
        return b"NVIDIA Fake" + bytes(245)

    def attribute(which: CUdevice_attribute, _device: int) -> int:
        gpu.call("attribute", context=False)
        return {75: 8, 76: 7, 18: int(gpu.integrated), 19: int(gpu.can_map)}[which]

    def number(value: int, name: str) -> Callable[..., int]:
        def call(*_arguments: Any) -> int:
            gpu.call(name, context=False)
            return value

        return call

    return {
        "cuInit": lambda _: gpu.call("init", context=False),
        "cuDeviceGet": number(0, "device"),
        "cuDevicePrimaryCtxRetain": retain,
        "cuDevicePrimaryCtxRelease": lambda _: gpu.release(),
        "cuDeviceGetName": lambda _, device: known(device),
        "cuDeviceGetAttribute": attribute,
        "cuDeviceTotalMem": number(8 << 30, "total"),
        "cuDriverGetVersion": number(13000, "version"),
        "cuCtxPushCurrent": lambda _: gpu.push(),
        "cuCtxPopCurrent": gpu.pop,
    }


def _memory_calls(gpu: FakeGpu) -> dict[str, Callable[..., Any]]:
    def host_address(memory: int, _flags: int) -> int:
        gpu.call("host address")
        gpu.get("host", memory)
        return memory

    return {
        "cuMemAlloc": gpu.memory,
        "cuMemFree": lambda memory: gpu.drop("memory", memory),
        "cuMemHostAlloc": lambda size, _flags: gpu.memory(size, host=True),
        "cuMemFreeHost": lambda memory: gpu.drop("host", memory),
        "cuMemHostGetDevicePointer": host_address,
        "cuMemcpyHtoDAsync": lambda to, of, size, stream: gpu.copy("copy in", to, of, size, stream),
        "cuMemcpyDtoHAsync": lambda to, of, size, stream: gpu.copy("copy out", to, of, size, stream),
    }


def _stream_calls(gpu: FakeGpu) -> dict[str, Callable[..., Any]]:
    return {
        "cuStreamCreate": lambda _flags: gpu.make("stream", Stream()),
        "cuStreamDestroy": lambda stream: gpu.drop("stream", stream),
        "cuStreamSynchronize": gpu.synchronise,
        "cuEventCreate": lambda _flags: gpu.make("event", []),
        "cuEventDestroy": lambda event: gpu.drop("event", event),
        "cuEventRecord": gpu.record,
        "cuEventElapsedTime": gpu.elapsed,
        "cuStreamBeginCapture": lambda stream, _mode: gpu.begin_capture(stream),
        "cuStreamEndCapture": gpu.end_capture,
        "cuGraphInstantiate": lambda noted, _flags: gpu.instantiate(noted),
        "cuGraphDestroy": lambda noted: gpu.drop("noted", noted),
        "cuGraphLaunch": gpu.launch,
        "cuGraphExecDestroy": lambda graph: gpu.drop("graph", graph),
    }


def _module_calls(gpu: FakeGpu) -> dict[str, Callable[..., Any]]:
    def function(module: int, name: bytes) -> tuple[int, str]:
        gpu.call("function")
        gpu.get("module", module)
        return module, name.decode()

    def launch(found: tuple[int, str], *place: Any) -> None:
        blocks, *others, threads, _, _, shared, stream, (values, types), extra = place
        assert (others, place[4:6], extra) == ([1, 1], (1, 1), 0)
        arguments = [kind(value) for value, kind in zip(values, types, strict=True)]
        gpu.run(*found, blocks, threads, shared, arguments, stream)

    return {
        "cuModuleLoadData": gpu.load,
        "cuModuleUnload": lambda module: gpu.drop("module", module),
        "cuModuleGetFunction": function,
        "cuLaunchKernel": launch,
    }
