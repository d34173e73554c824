"""What there is to build with and for: the library's version, the GPU, and free memory."""

from __future__ import annotations

import ctypes

from pydantic import BaseModel, ConfigDict

from foundry_edge_export.tensorrt.library import ahead_capabilities
from foundry_edge_runtime.backends.cuda import Device, open_device
from foundry_edge_runtime.backends.cuda.identity import plan_device
from foundry_edge_runtime.backends.trt.library import import_library
from foundry_edge_runtime.device import available_memory
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.plans import PlanDevice


class Site(BaseModel):
    """Where plans are built.

    Attributes:
        version: of the library.
        capabilities: what it can build for without a GPU.
        device: the GPU at hand, None without one.
        no_device: why there is none.
        free_bytes: memory that the GPU can still hand out; 0 without one.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    capabilities: tuple[str, ...] = ()
    device: PlanDevice | None = None
    no_device: str = ""
    free_bytes: int = 0


def look_around(backend: str) -> Site:
    """See `Site`; to be called in a process of its own, because libraries without a driver can crash.

    Raises:
        BackendError: the library is not installed.
    """
    library = import_library(backend)
    site = Site(version=library.__version__, capabilities=ahead_capabilities(library))
    try:
        device = open_device()
    except BackendError as error:
        return site.model_copy(update={"no_device": error.problem})
    try:
        found = {"device": plan_device(device.attributes), "free_bytes": _free_bytes(device)}
        return site.model_copy(update=found)
    finally:
        device.close()


def _free_bytes(device: Device) -> int:
    """A Jetson's GPU shares the memory of its CPU, and there the system knows best."""
    if device.attributes.integrated:
        return available_memory()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    with device.current():
        status = ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    return free.value if status == 0 else device.attributes.memory // 2
