"""A deserialised plan in use."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from foundry_edge_runtime.backends.base import EngineInfo, Outputs, Split
from foundry_edge_runtime.backends.cuda import Device, refusal
from foundry_edge_runtime.backends.trt.lane import Capture, Lane
from foundry_edge_runtime.backends.trt.lanes import Lanes
from foundry_edge_runtime.backends.trt.loaded import Loaded
from foundry_edge_runtime.backends.trt.tensors import Tensors
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.pointcloud import FloatArray

_log = logging.getLogger(__name__)


class TensorRtEngine:
    """See `Engine`; may be used by several threads at once.

    A batch larger than the plan takes goes through in parts, a smaller one beside rows that do not count.

    Args:
        device: given to the engine, which closes it.
        loaded: the plan, which the engine closes, too.
        tensors: of the plan.
        info: what `describe` tells.
    """

    def __init__(self, device: Device, loaded: Loaded, tensors: Tensors, info: EngineInfo) -> None:
        self._device, self._loaded, self._tensors, self._info = device, loaded, tensors, info
        self._capture = Capture(wanted=True)
        if not device.driver.can_capture:
            self._capture.refused(info.backend, f"{device.driver.name} has no calls for them")
        self._lanes = Lanes(device, self._lane, self._finish, info.backend)

    def _lane(self, batch: int) -> Lane:
        return Lane(self._device, self._loaded, self._tensors, batch, self._capture)

    def warm(self, batch: int = 1) -> None:
        """Run twice on zeros: the second time as a CUDA graph, if it could be captured."""
        zeros = {name: np.zeros((batch, *shape), np.float32) for name, shape in self._tensors.inputs.items()}
        for _ in range(2):
            self.run(zeros["groups"], zeros["centers"])

    def run(self, groups: FloatArray, centers: FloatArray) -> Outputs:
        """Compute one batch; see `Engine.run`."""
        inputs = self._checked(groups, centers)
        step, count = self._tensors.most, len(groups)
        parts = [
            self._run_part({name: value[start : start + step] for name, value in inputs.items()})
            for start in range(0, count, step)
        ]
        found = (
            parts[0]
            if len(parts) == 1
            else {name: np.concatenate([part[name] for part in parts]) for name in self._tensors.outputs}
        )
        return Outputs(found["tokens"], found["global"], found.get("logits"))

    def split(self, groups: FloatArray, centers: FloatArray) -> Split:
        """Where the time of a batch goes; see `SplitEngine.split`.

        Raises:
            BackendError: as `run`; or the batch is larger than the plan takes at once.
        """
        inputs = self._checked(groups, centers)
        if len(groups) > self._tensors.most:
            raise BackendError(
                f"a batch of {len(groups)} goes through in parts of {self._tensors.most}",
                where=self._info.backend,
            )
        with self._lanes.borrow(self._size(len(groups))) as lane:
            return lane.split(inputs)

    def _run_part(self, inputs: dict[str, FloatArray]) -> dict[str, FloatArray]:
        with self._lanes.borrow(self._size(len(inputs["groups"]))) as lane:
            return lane.run(inputs)

    def _size(self, rows: int) -> int:
        return max(rows, self._tensors.fewest)

    def _checked(self, groups: FloatArray, centers: FloatArray) -> dict[str, FloatArray]:
        """The inputs by name, after type and shape were found to be those of the plan."""
        inputs = {"groups": groups, "centers": centers}
        for name, value in inputs.items():
            shape = self._tensors.inputs[name]
            if value.dtype != np.float32 or value.shape[1:] != shape or len(value) != max(len(groups), 1):
                expected = ", ".join(map(str, shape))
                raise BackendError(
                    f"{name} is {value.dtype} {value.shape}, expected float32 (B, {expected})",
                    where=self._info.backend,
                )
        return inputs

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
        return replace(self._info, detail=detail)
