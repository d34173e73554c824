"""Which library the GPU's memory is reached through: cuda-python, else pycuda."""

from __future__ import annotations

from collections.abc import Callable

from foundry_edge_runtime.backends.cuda.cuda_python import CudaPython
from foundry_edge_runtime.backends.cuda.device import Device
from foundry_edge_runtime.backends.cuda.driver import Driver
from foundry_edge_runtime.backends.cuda.py_cuda import PyCuda
from foundry_edge_runtime.errors import BackendError

_LIBRARIES: dict[str, Callable[[int], Driver]] = {"cuda-python": CudaPython, "pycuda": PyCuda}


def open_device(ordinal: int = 0, library: str | None = None) -> Device:
    """A GPU with its primary context retained; close it.

    Args:
        ordinal: number among the GPUs that CUDA_VISIBLE_DEVICES shows.
        library: "cuda-python" or "pycuda"; None takes the first that works. cuda-python comes first
            because pycuda cannot capture CUDA graphs.

    Raises:
        BackendError: none works; the message says why, for each.
    """
    names = [library] if library else list(_LIBRARIES)
    reasons: list[str] = []
    for name in names:
        try:
            return Device(_LIBRARIES[name](ordinal))
        except BackendError as error:
            reasons.append(f"{name}: {error.problem}")
    raise BackendError(
        "; ".join(reasons), where="GPU", remedy="install the NVIDIA driver, and cuda-python or pycuda"
    )
