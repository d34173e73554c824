"""Memory, streams and kernels of an NVIDIA GPU, through cuda-python or pycuda.

``driver.py`` is the interface; ``cuda_python.py`` (with ``nvrtc.py``) and ``py_cuda.py`` implement it;
``device.py`` owns what they hand out and frees each thing once; ``opening.py`` picks one of them. On top of
these, ``arena.py`` moves tensors, and ``grouping.py`` and ``points.py`` group on the GPU.
"""

from foundry_edge_runtime.backends.cuda.arena import Arena, Shape
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
from foundry_edge_runtime.backends.cuda.grouping import GroupingKernels
from foundry_edge_runtime.backends.cuda.opening import open_device
from foundry_edge_runtime.backends.cuda.points import GpuGrouping, SampledPoints, open_grouping

__all__ = [
    "Arena",
    "Attributes",
    "Device",
    "DeviceBuffer",
    "Driver",
    "Event",
    "GpuGrouping",
    "Graph",
    "GroupingKernels",
    "HostBuffer",
    "SampledPoints",
    "Shape",
    "Stream",
    "open_device",
    "open_grouping",
    "refusal",
]
