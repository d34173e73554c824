"""Sampled points on their way through the grouping kernels, and the check against the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.backends.cuda.arena import Arena
from foundry_edge_runtime.backends.cuda.device import Device, Stream
from foundry_edge_runtime.backends.cuda.grouping import GroupingKernels, Places
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing, group_prepared
from foundry_edge_runtime.grouping.sampling import farthest_from_centroid
from foundry_edge_runtime.pointcloud import FloatArray

_TIED = 8  # clouds: a wrong order of operations changes the groups of each with some luck only


class SampledPoints:
    """Room for B sampled clouds on both sides, grouped on the device; made with the context current.

    Args:
        device: whose.
        kernels: what groups.
        clouds: B.
        results: where on the device the groups and the centres go, by name.

    Attributes:
        addresses: as ``results``.

    Raises:
        BackendError: out of memory.
    """

    def __init__(
        self, device: Device, kernels: GroupingKernels, clouds: int, results: Mapping[str, int]
    ) -> None:
        spec = kernels.spec
        self._kernels, self._clouds, self.addresses = kernels, clouds, results
        with ExitStack() as undo:
            self._arena = Arena(device, {"points": (clouds, spec.points, 3), "starts": (clouds,)})
            undo.callback(self._arena.close)
            chosen = device.buffer(clouds * spec.groups * np.dtype(np.int32).itemsize)
            undo.callback(chosen.close)
            self._undo = undo.pop_all()
        self._points, self._starts = self._arena.views["points"], self._arena.views["starts"].view(np.int32)
        self._points[...] = self._starts[...] = 0  # rows that no cloud fills are grouped, too
        self._places = Places(**self._arena.addresses, chosen=chosen.address, **results)

    def fill(self, inputs: Mapping[str, FloatArray]) -> int:
        """Put at most B clouds in, ``points`` (n, N, 3), with the start of each; returns n."""
        points = inputs["points"]
        self._points[: len(points)] = points
        self._starts[: len(points)] = [farthest_from_centroid(one) for one in points]
        return len(points)

    def copy_in(self, stream: Stream) -> None:
        """Begin to bring them to the device."""
        self._arena.copy_in(stream)

    def work(self, stream: Stream) -> None:
        """Begin to group them."""
        self._kernels.group(stream, self._clouds, self._places)

    def close(self) -> None:
        """Free both sides."""
        self._undo.close()


@dataclass(frozen=True)
class GpuGrouping:
    """Which side groups for the engines of a device.

    Attributes:
        kernels: that do it on the GPU; None where the CPU does.
        reason: why the CPU does, "" where it does not.
    """

    kernels: GroupingKernels | None
    reason: str = ""

    def __str__(self) -> str:
        return "groups on the GPU" if self.kernels else f"groups on the CPU: {self.reason}"


def open_grouping(device: Device, spec: Preprocessing) -> GpuGrouping:
    """Compile and load the kernels, and use them only if they have just given what the CPU gives.

    Args:
        device: its context is current.
        spec: N, c and K.
    """
    try:
        kernels = GroupingKernels(device, spec)
        _check(device, kernels)
    except BackendError as error:
        return GpuGrouping(None, str(error))
    return GpuGrouping(kernels)


def _check(device: Device, kernels: GroupingKernels) -> None:
    """Group clouds full of ties and one without, on both sides.

    Sevenths are rounded, so that ties break where operations are fused or come in another order.

    Raises:
        BackendError: they differ, or CUDA refuses.
    """
    rng, shape = np.random.default_rng(0), (kernels.spec.points, 3)
    tied = rng.integers(0, 8, (_TIED, *shape)).astype(np.float32) / 7
    clouds = np.concatenate([tied, rng.random((1, *shape), np.float32)])
    groups, centers = _grouped(device, kernels, clouds)
    for row, points in enumerate(clouds):
        expected = group_prepared(points, kernels.spec)
        if not (
            np.array_equal(groups[row], expected.groups) and np.array_equal(centers[row], expected.centers)
        ):
            raise BackendError("the kernels give other groups than the CPU")


def _grouped(device: Device, kernels: GroupingKernels, clouds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Groups (B, c, K, 3) and centres (B, c, 3) of sampled clouds (B, N, 3), back on the host."""
    spec, count = kernels.spec, len(clouds)
    shapes = {"groups": (count, spec.groups, spec.group_size, 3), "centers": (count, spec.groups, 3)}
    with ExitStack() as undo:
        stream = device.stream()
        undo.callback(stream.close)
        results = Arena(device, shapes)
        undo.callback(results.close)
        inputs = SampledPoints(device, kernels, count, results.addresses)
        undo.callback(inputs.close)
        undo.callback(stream.settle)
        inputs.fill({"points": clouds})
        inputs.copy_in(stream)
        inputs.work(stream)
        results.copy_out(stream)
        stream.synchronise()
        return results.views["groups"].copy(), results.views["centers"].copy()
