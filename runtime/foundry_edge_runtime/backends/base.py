"""What a backend is. A new one is this file to read and one file to write (then a line in registry.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from foundry_edge_runtime.bundle.load import Graph
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray

INPUTS = ("groups", "centers")
OUTPUTS = ("tokens", "global")
LOGITS = "logits"


@dataclass(frozen=True)
class Outputs:
    """What a rung computes for B clouds.

    Attributes:
        tokens: (B, c, d) float32.
        pooled: (B, 2d) float32, mean and maximum over the tokens (the graph's output ``global``).
        logits: (B, labels) float32, None when the rung has no head.
    """

    tokens: FloatArray
    pooled: FloatArray
    logits: FloatArray | None


@dataclass(frozen=True)
class EngineInfo:
    """What an engine runs on.

    Attributes:
        backend: the name it is asked for by, e.g. "onnxruntime" or "onnxruntime:cuda".
        version: of the library behind it.
        device: e.g. "cpu", "cuda:0".
        threads: CPU threads it uses, None where that has no meaning.
        plan: SHA-256 of the plan it was made from, "" where there is none.
        detail: what else matters to its speed, for people.
    """

    backend: str
    version: str
    device: str
    threads: int | None = None
    plan: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Split:
    """Where the time of one batch went, in ms.

    Attributes:
        copy_in_ms, gpu_ms, copy_out_ms: to the device, on it, and back, in this order; by device events.
        enqueue_ms: what the CPU needed to start the work; by its own clock, while the GPU is copying.
    """

    copy_in_ms: float
    gpu_ms: float
    copy_out_ms: float
    enqueue_ms: float


class Engine(Protocol):
    """A rung made executable: warm, run as often as wanted, close."""

    def warm(self, batch: int = 1) -> None:
        """Run on made-up input of this batch size, as often as later runs need to show their true speed."""

    def run(self, groups: FloatArray, centers: FloatArray) -> Outputs:
        """Compute (B, c, K, 3) groups and (B, c, 3) centres.

        Raises:
            BackendError: the engine failed.
        """

    def close(self) -> None:
        """Free what it holds; it cannot run afterwards."""

    def describe(self) -> EngineInfo:
        """Backend, version and device that are really in use."""


@runtime_checkable
class SplitEngine(Protocol):
    """An engine that can tell where the time goes, beside what `Engine` asks for."""

    def split(self, groups: FloatArray, centers: FloatArray) -> Split:
        """Compute as `Engine.run` does, and time the parts instead of giving the result."""


class GroupingEngine(Engine, Protocol):
    """An engine that may group by itself."""

    @property
    def groups_itself(self) -> bool:
        """Whether it does here; then it is best given points, though it still takes groups."""

    def run_points(self, points: FloatArray) -> tuple[Outputs, FloatArray]:
        """Group and compute clouds (B, N, 3) float32 that `prepare` gave.

        Returns:
            The outputs, and the centres (B, c, 3) float32: those of the CPU, to the bit.

        Raises:
            BackendError: the engine failed, or does not group here.
        """

    def split_points(self, points: FloatArray) -> Split:
        """As `run_points`, timed as by `SplitEngine.split`; grouping is in ``gpu_ms``."""


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can be used here, and the reason when it cannot.

    Attributes:
        name, available, reason: as they say; the reason is one line.
        version: of the library behind it.
        gpu: what it runs on, as a `PlanDevice`; None for a CPU and where it is not available.
        grouping: where the points for a GPU are grouped, and why, for people; "" for the others.
    """

    name: str
    available: bool
    version: str = ""
    reason: str = ""
    gpu: dict[str, Any] | None = None
    grouping: str = ""


@runtime_checkable
class Probed(Protocol):
    """A backend whose library may crash: its status comes from a process of its own (probe.py)."""

    def examine(self) -> BackendStatus:
        """Use the library and the device a little, in this process."""


class Backend(Protocol):
    """Turns graphs into engines."""

    @property
    def name(self) -> str:
        """The name it is asked for by."""

    def status(self) -> BackendStatus:
        """Whether it works here; never raises."""

    def load(self, graph: Graph, spec: Preprocessing) -> Engine:
        """Make a checked graph executable.

        Args:
            graph: from `Bundle.graph`, so hash and external data were checked.
            spec: gives c and K, the static part of the input shapes.

        Raises:
            BackendError: the backend is absent or broken, or would silently run somewhere else.
            BundleError: the graph does not fulfil the contract of inputs and outputs.
        """
