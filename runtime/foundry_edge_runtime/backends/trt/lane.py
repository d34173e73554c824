"""One way through the GPU for one batch size: execution context, stream, buffers, and a CUDA graph."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from foundry_edge_runtime.backends.base import Split
from foundry_edge_runtime.backends.cuda import (
    Arena,
    Device,
    Event,
    Graph,
    GroupingKernels,
    SampledPoints,
    Shape,
)
from foundry_edge_runtime.backends.trt.inputs import HostGroups, Inputs
from foundry_edge_runtime.backends.trt.loaded import Execution, Loaded
from foundry_edge_runtime.backends.trt.tensors import Tensors
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.pointcloud import FloatArray

_log = logging.getLogger(__name__)


class Capture:
    """Whether CUDA graphs are still to be captured, for all lanes of an engine: one refusal is enough."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted

    def refused(self, name: str, reason: str) -> None:
        """Go on without graphs, and say so once."""
        if self.wanted:
            self.wanted = False
            _log.warning("%s: runs without a CUDA graph, somewhat slower: %s", name, reason)


@dataclass(frozen=True)
class Way:
    """What the lanes of an engine differ in.

    Attributes:
        batch: clouds at a time, within the engine's range.
        kernels: group sampled points on the device; None where groups come from the host.
    """

    batch: int
    kernels: GroupingKernels | None = None


class Lane:
    """Used by one thread at a time; everything in it has one batch size, so a graph stays valid.

    Args:
        device: the context is current while it is made, used and closed.
        loaded: the plan.
        tensors: of the plan.
        way: what goes in.
        capture: shared by the lanes of an engine.

    Raises:
        BackendError: no memory, or the library refuses.
    """

    def __init__(self, device: Device, loaded: Loaded, tensors: Tensors, way: Way, capture: Capture) -> None:
        self.way = way
        self._device, self._loaded, self._capture = device, loaded, capture
        self._graph: Graph | None = None
        self._events: list[Event] = []
        self._runs = 0
        with loaded.calls(), ExitStack() as undo:
            self._execution = Execution(loaded)
            undo.callback(self._execution.close)
            self._stream = device.stream()
            undo.callback(self._stream.close)
            shapes = {name: (way.batch, *shape) for name, shape in tensors.inputs.items()}
            self._outputs = Arena(device, self._shapes(shapes, tensors.outputs))
            undo.callback(self._outputs.close)
            self._inputs = self._new_inputs(shapes, undo)
            undo.callback(self._inputs.close)
            self._bind()
            self._undo = undo.pop_all()

    def _shapes(self, inputs: Mapping[str, Shape], outputs: tuple[str, ...]) -> dict[str, Shape]:
        """Tell the shapes of the inputs, and learn those of what is copied back."""
        for name, shape in inputs.items():
            if not self._execution.context.set_input_shape(name, shape):
                raise self._loaded.error(f"{name} of shape {shape} is refused")
        found = {name: tuple(self._execution.context.get_tensor_shape(name)) for name in outputs}
        for name, shape in found.items():
            if not shape or shape[0] != self.way.batch or min(shape) < 1:
                raise BackendError(
                    f"output {name!r} has the shape {shape} for a batch of {self.way.batch}",
                    where=self._loaded.name,
                )
        return {**found, "centers": inputs["centers"]} if self.way.kernels else found

    def _new_inputs(self, shapes: Mapping[str, Shape], undo: ExitStack) -> Inputs:
        """Centres that are made on the device lie among the outputs: the host needs them, too."""
        if self.way.kernels is None:
            return HostGroups(self._device, shapes)
        groups = self._device.buffer(math.prod(shapes["groups"]) * np.dtype(np.float32).itemsize)
        undo.callback(groups.close)
        results = {"groups": groups.address, "centers": self._outputs.addresses["centers"]}
        return SampledPoints(self._device, self.way.kernels, self.way.batch, results)

    def _bind(self) -> None:
        for name, address in {**self._inputs.addresses, **self._outputs.addresses}.items():
            if not self._execution.context.set_tensor_address(name, address):
                raise self._loaded.error(f"the address of {name} is refused")

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Compute at most a batch; rows beyond those given are computed on what lies there, and not returned.

        Args:
            inputs: ``groups`` and ``centers``, or ``points`` where the device groups.

        Returns:
            The outputs, and ``centers`` where the device groups.

        Raises:
            BackendError: the library or CUDA fails; the lane must not be used again.
        """
        rows = self._inputs.fill(inputs)
        self._inputs.copy_in(self._stream)
        self._execute()
        self._outputs.copy_out(self._stream)
        self._stream.synchronise()
        found = {name: view[:rows].copy() for name, view in self._outputs.views.items()}
        if self._runs == 0:
            self._try_capture()
        self._runs += 1
        return found

    def split(self, inputs: Mapping[str, FloatArray]) -> Split:
        """As `run`, timed by events in the stream."""
        self._inputs.fill(inputs)
        while len(self._events) < 4:
            self._events.append(self._device.event())
        events = self._events
        events[0].record(self._stream)
        self._inputs.copy_in(self._stream)
        events[1].record(self._stream)
        started = time.perf_counter()
        self._execute()
        enqueue_ms = (time.perf_counter() - started) * 1e3
        events[2].record(self._stream)
        self._outputs.copy_out(self._stream)
        events[3].record(self._stream)
        self._stream.synchronise()
        times = [last.since_ms(first) for first, last in pairwise(events)]
        return Split(copy_in_ms=times[0], enqueue_ms=enqueue_ms, gpu_ms=times[1], copy_out_ms=times[2])

    def _execute(self) -> None:
        if self._graph is not None:
            self._stream.launch(self._graph)
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        self._inputs.work(self._stream)
        with self._loaded.calls():
            started = self._execution.context.execute_async_v3(self._stream.number)
        if not started:
            raise self._loaded.error("the engine cannot be started")

    def _try_capture(self) -> None:
        """Capture after a run of this shape, as TensorRT asks for: the first does work of its own."""
        if not self._capture.wanted:
            return
        capturable = getattr(self._execution.context, "is_stream_capturable", None)  # of TensorRT-RTX
        if capturable is not None and not capturable(self._stream.number):
            self._capture.refused(self._loaded.name, "the library does not capture this engine")
            return
        try:
            self._graph = self._stream.capture(self._enqueue)
        except BackendError as error:
            self._capture.refused(self._loaded.name, error.problem)
            self._loaded.messages.take()

    def close(self) -> None:
        """Wait for its work and free what it holds.

        Raises:
            BackendError: CUDA refuses; what is left is freed with the device.
        """
        with self._undo as undo:
            for one in [*self._events, *([self._graph] if self._graph else [])]:
                undo.callback(one.close)
            undo.callback(self._stream.settle)
            self._graph, self._events = None, []
