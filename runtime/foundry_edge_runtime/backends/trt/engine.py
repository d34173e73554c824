"""A deserialised plan in use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import astuple, replace

import numpy as np

from foundry_edge_runtime.backends.base import EngineInfo, Outputs, Split
from foundry_edge_runtime.backends.cuda import Device, GpuGrouping, GroupingKernels, Shape, refusal
from foundry_edge_runtime.backends.trt.lane import Capture, Lane, Way
from foundry_edge_runtime.backends.trt.lanes import Lanes
from foundry_edge_runtime.backends.trt.loaded import Loaded
from foundry_edge_runtime.backends.trt.tensors import Tensors
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.pointcloud import FloatArray

_log = logging.getLogger(__name__)


class TensorRtEngine:
    """See `Engine`, `SplitEngine` and `GroupingEngine`; may be used by several threads at once.

    A batch larger than the plan takes goes through in parts, a smaller one beside rows that do not count.

    Args:
        device: given to the engine, which closes it.
        loaded: the plan, which the engine closes, too.
        tensors: of the plan.
        grouping: which side groups.
        info: what `describe` tells.
    """

    def __init__(
        self, device: Device, loaded: Loaded, tensors: Tensors, grouping: GpuGrouping, info: EngineInfo
    ) -> None:
        self._device, self._loaded, self._tensors, self._info = device, loaded, tensors, info
        self._grouping = grouping
        self._capture = Capture(wanted=True)
        if not device.driver.can_capture:
            self._capture.refused(info.backend, f"{device.driver.name} has no calls for them")
        self._lanes = Lanes(device, self._lane, self._finish, info.backend)

    def _lane(self, way: Way) -> Lane:
        return Lane(self._device, self._loaded, self._tensors, way, self._capture)

    @property
    def groups_itself(self) -> bool:
        """See `GroupingEngine.groups_itself`; settled when it was loaded."""
        return self._grouping.kernels is not None

    def warm(self, batch: int = 1) -> None:
        """Run twice on zeros: the second time as a CUDA graph, if it could be captured."""
        kernels = self._grouping.kernels
        shapes = {"points": (kernels.spec.points, 3)} if kernels else self._tensors.inputs
        zeros = {name: np.zeros((batch, *shape), np.float32) for name, shape in shapes.items()}
        for _ in range(2):
            self._run(zeros, kernels)

    def run(self, groups: FloatArray, centers: FloatArray) -> Outputs:
        """Compute one batch; see `Engine.run`."""
        return _outputs(self._run(self._checked(groups, centers), None))

    def run_points(self, points: FloatArray) -> tuple[Outputs, FloatArray]:
        """Group and compute one batch; see `GroupingEngine.run_points`."""
        found = self._run(*self._checked_points(points))
        return _outputs(found), found["centers"]

    def split(self, groups: FloatArray, centers: FloatArray) -> Split:
        """Where the time of a batch goes; see `SplitEngine.split`."""
        return self._split(self._checked(groups, centers), None)

    def split_points(self, points: FloatArray) -> Split:
        """Where the time of a batch goes; see `GroupingEngine.split_points`."""
        return self._split(*self._checked_points(points))

    def _run(self, inputs: dict[str, FloatArray], kernels: GroupingKernels | None) -> dict[str, FloatArray]:
        """A batch of any size."""
        found = []
        for part in self._parts(inputs):
            with self._lanes.borrow(self._way(part, kernels)) as lane:
                found.append(lane.run(part))
        if len(found) == 1:
            return found[0]
        return {name: np.concatenate([part[name] for part in found]) for name in found[0]}

    def _split(self, inputs: dict[str, FloatArray], kernels: GroupingKernels | None) -> Split:
        """A batch of any size; the times of its parts are added up."""
        found = []
        for part in self._parts(inputs):
            with self._lanes.borrow(self._way(part, kernels)) as lane:
                found.append(astuple(lane.split(part)))
        return Split(*map(sum, zip(*found, strict=True)))

    def _parts(self, inputs: dict[str, FloatArray]) -> Iterator[dict[str, FloatArray]]:
        """Batches that the plan takes at once."""
        step = self._tensors.most
        for start in range(0, _rows(inputs), step):
            yield {name: value[start : start + step] for name, value in inputs.items()}

    def _way(self, inputs: dict[str, FloatArray], kernels: GroupingKernels | None) -> Way:
        return Way(max(_rows(inputs), self._tensors.fewest), kernels)

    def _checked(self, groups: FloatArray, centers: FloatArray) -> dict[str, FloatArray]:
        """The inputs by name, after type and shape were found to be those of the plan."""
        inputs = {"groups": groups, "centers": centers}
        for name, value in inputs.items():
            self._check(name, value, self._tensors.inputs[name], len(groups))
        return inputs

    def _checked_points(self, points: FloatArray) -> tuple[dict[str, FloatArray], GroupingKernels]:
        """As `_checked`, and what groups them."""
        kernels = self._grouping.kernels
        if kernels is None:
            raise BackendError(str(self._grouping), where=self._info.backend)
        self._check("points", points, (kernels.spec.points, 3), len(points))
        return {"points": points}, kernels

    def _check(self, name: str, value: FloatArray, shape: Shape, rows: int) -> None:
        if value.dtype != np.float32 or value.shape[1:] != shape or len(value) != max(rows, 1):
            expected = ", ".join(map(str, shape))
            raise BackendError(
                f"{name} is {value.dtype} {value.shape}, expected float32 (B, {expected})",
                where=self._info.backend,
            )

    def close(self) -> None:
        """Free everything, once the runs under way in other threads are done; it cannot run afterwards.

        What CUDA refuses to free is logged in one line and not raised.
        """
        self._lanes.close()

    def _finish(self) -> None:
        reason = refusal(self._loaded.close)
        if reason:
            _log.warning("%s: closed without the GPU: %s", self._info.backend, reason)
        self._device.close()

    def describe(self) -> EngineInfo:
        """What is really in use."""
        device = self._device
        memory = "mapped" if device.mapped else "page-locked"
        graph = "as a CUDA graph" if self._capture.wanted else "without a CUDA graph"
        detail = f"{device.attributes.name}, {memory} memory through {device.driver.name}, {graph}"
        return replace(self._info, detail=f"{detail}, {self._grouping}")


def _rows(inputs: dict[str, FloatArray]) -> int:
    return len(next(iter(inputs.values())))


def _outputs(found: dict[str, FloatArray]) -> Outputs:
    return Outputs(found["tokens"], found["global"], found.get("logits"))
