"""TensorRT and TensorRT for RTX as backends: plans of this machine's store become engines, and nothing else.

A plan is code, so the bytes that are deserialised are the very bytes whose hash the store has checked; no
path is ever handed to the library, and plans that carry host code are refused by the library's own default.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from foundry_edge_runtime.backends.base import BackendStatus, EngineInfo
from foundry_edge_runtime.backends.cuda import Device, GpuGrouping, open_device, open_grouping
from foundry_edge_runtime.backends.cuda.grouping import switched_on
from foundry_edge_runtime.backends.cuda.identity import plan_device
from foundry_edge_runtime.backends.probe import probed
from foundry_edge_runtime.backends.trt.engine import TensorRtEngine
from foundry_edge_runtime.backends.trt.library import MODULES, import_library, installed
from foundry_edge_runtime.backends.trt.loaded import Loaded
from foundry_edge_runtime.backends.trt.messages import Messages, new_log
from foundry_edge_runtime.backends.trt.tensors import read_tensors
from foundry_edge_runtime.bundle.load import Graph
from foundry_edge_runtime.errors import BackendError, first_line
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.plans import PlanRequest, PlanStore

_log = logging.getLogger(__name__)


class TensorRtBackend:
    """See `Backend`.

    Args:
        name: "tensorrt" or "tensorrt-rtx".
        grouping: whether the GPU groups where it can; None leaves it to $FOUNDRY_EDGE_GPU_GROUPING.
    """

    def __init__(self, name: str = "tensorrt", *, grouping: bool | None = None) -> None:
        self._name = name
        self._grouping = switched_on() if grouping is None else grouping

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    def status(self) -> BackendStatus:
        """Whether the library is installed and works with this GPU, found out in a process of its own."""
        if not installed(self._name):
            reason = f"the Python package {MODULES[self._name]!r} is not installed"
            return BackendStatus(self._name, available=False, reason=reason)
        return probed(self._name)

    def examine(self) -> BackendStatus:
        """Import the library, make its runtime, and take a stream and memory of the GPU, in this process."""
        try:
            library = import_library(self._name)
            device = open_device()
        except BackendError as error:
            return BackendStatus(self._name, available=False, reason=error.problem)
        try:
            with device.current():
                _use(library, device)
                grouping = self._open_grouping(device, Preprocessing())
        except (BackendError, RuntimeError, TypeError) as error:
            reason = error.problem if isinstance(error, BackendError) else first_line(error)
            return BackendStatus(self._name, available=False, version=library.__version__, reason=reason)
        finally:
            device.close()
        gpu = plan_device(device.attributes).model_dump(mode="json")
        return BackendStatus(
            self._name, available=True, version=library.__version__, gpu=gpu, grouping=str(grouping)
        )

    def load(self, graph: Graph, spec: Preprocessing) -> TensorRtEngine:
        """The engine of the plan built for a graph on this device; see `Backend.load`.

        Raises:
            BackendError: there is no such plan, it is stale or was altered (build it again), or it fails.
        """
        library = import_library(self._name)
        with ExitStack() as undo:
            device = open_device()
            undo.callback(device.close)
            wanted = PlanRequest(
                graph.sha256,
                graph.weights_sha256,
                self._name,
                library.__version__,
                plan_device(device.attributes),
                name=graph.name,
            )
            outcome = PlanStore().load(wanted)
            if outcome.plan is None or outcome.manifest is None:
                raise outcome.error()
            engine = self._engine(library, device, outcome.plan, spec, outcome.manifest.plan.sha256)
            undo.pop_all()
        return engine

    def load_plan(self, plan: bytes, spec: Preprocessing) -> TensorRtEngine:
        """The engine of a plan that the caller vouches for, as `foundry-edge build` does of one just built.

        Raises:
            BackendError: it cannot be loaded here.
        """
        library = import_library(self._name)
        with ExitStack() as undo:
            device = open_device()
            undo.callback(device.close)
            engine = self._engine(library, device, plan, spec, "")
            undo.pop_all()
        return engine

    def _engine(
        self, library: Any, device: Device, plan: bytes, spec: Preprocessing, digest: str
    ) -> TensorRtEngine:
        """Deserialise; the device is the engine's from then on."""
        info = EngineInfo(self._name, library.__version__, "cuda:0", plan=digest)
        with ExitStack() as undo:
            with device.current():
                loaded = Loaded(library, device, plan, self._name)
                undo.callback(loaded.close)
                with loaded.calls():
                    tensors = read_tensors(loaded, spec)
                grouping = self._open_grouping(device, spec)
            engine = TensorRtEngine(device, loaded, tensors, grouping, info)
            undo.pop_all()
        if self._grouping and not engine.groups_itself:
            _log.warning("%s: %s", self._name, grouping)
        return engine

    def _open_grouping(self, device: Device, spec: Preprocessing) -> GpuGrouping:
        return open_grouping(device, spec) if self._grouping else GpuGrouping(None, "switched off")


def _use(library: Any, device: Device) -> None:
    """Move bytes to the GPU and back, and make a runtime.

    Raises:
        BackendError: something fails.
    """
    stream, memory = device.stream(), device.buffer(64)
    there, back = device.host_buffer(64), device.host_buffer(64)
    there.data[:], back.data[:] = 7, 0
    stream.copy_in(memory, there)
    stream.copy_out(back, memory)
    stream.synchronise()
    if not (back.data == 7).all():
        raise BackendError("bytes copied to the GPU do not come back as they were")
    messages = Messages()
    if library.Runtime(new_log(library, messages)) is None:
        raise BackendError(f"no runtime can be made: {messages.take()}")
