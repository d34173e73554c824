"""Memory and streams of an NVIDIA GPU, through cuda-python or pycuda.

``driver.py`` is the interface; ``cuda_python.py`` and ``py_cuda.py`` implement it; ``device.py`` owns what
they hand out and frees each thing once; ``opening.py`` picks one of them.
"""

from foundry_edge_runtime.backends.cuda.device import (
    Device,
    DeviceBuffer,
    Event,
    Graph,
    HostBuffer,
    Stream,
    refusal,
)
from foundry_edge_runtime.backends.cuda.driver import Attributes, Driver
from foundry_edge_runtime.backends.cuda.opening import open_device

__all__ = [
    "Attributes",
    "Device",
    "DeviceBuffer",
    "Driver",
    "Event",
    "Graph",
    "HostBuffer",
    "Stream",
    "open_device",
    "refusal",
]
