"""A backend in memory: selection, sessions and streams are tested with it, without any engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from foundry_edge_runtime.backends.base import BackendStatus, EngineInfo, Outputs
from foundry_edge_runtime.bundle.load import Graph
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray


@dataclass
class FakeBackend:
    """Engines that take a set time and return features computed from the centres.

    Attributes:
        width: d of the tokens.
        labels: length of the logits, 0 for no head.
        latency_ms: graph name -> how long a run of one batch takes; others take no time.
        broken: graph name -> the reason its load fails with.
        sleep: how time passes (seconds); a test may advance a clock of its own.
        log: what happened, e.g. "load s4.onnx", "run s4.onnx", "close s4.onnx".
    """

    width: int = 4
    labels: int = 3
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep
    log: list[str] = field(default_factory=list)
    name: str = "fake"

    def status(self) -> BackendStatus:
        """Always available."""
        return BackendStatus(self.name, available=True, version="1")

    def load(self, graph: Graph, spec: Preprocessing) -> FakeEngine:
        """An engine for this graph, or the error set in ``broken``."""
        self.log.append(f"load {graph.name}")
        if graph.name in self.broken:
            raise BackendError(self.broken[graph.name], where=self.name)
        return FakeEngine(self, graph.name, spec)


@dataclass
class FakeEngine:
    """One graph of a `FakeBackend`."""

    backend: FakeBackend
    graph: str
    spec: Preprocessing
    closed: bool = False

    def warm(self, batch: int = 1) -> None:
        """Run once on zeros."""
        c, k = self.spec.groups, self.spec.group_size
        self.run(np.zeros((batch, c, k, 3), np.float32), np.zeros((batch, c, 3), np.float32))

    def run(self, groups: FloatArray, centers: FloatArray) -> Outputs:
        """Repeat the centres as tokens; the logits are a sum of them."""
        if self.closed:
            raise BackendError("the engine was closed", where=self.backend.name)
        self.backend.log.append(f"run {self.graph}")
        self.backend.sleep(self.backend.latency_ms.get(self.graph, 0.0) / 1e3)
        reach = np.linalg.norm(centers, axis=-1, keepdims=True)
        tokens = np.repeat(reach, self.backend.width, axis=-1).astype(np.float32)
        pooled = np.concatenate([tokens.mean(axis=1), tokens.max(axis=1)], axis=-1)
        logits = pooled[:, :1] * np.arange(self.backend.labels, dtype=np.float32)
        return Outputs(tokens, pooled, logits if self.backend.labels else None)

    def close(self) -> None:
        """Refuse further runs."""
        self.closed = True
        self.backend.log.append(f"close {self.graph}")

    def describe(self) -> EngineInfo:
        """A device that is none."""
        return EngineInfo(self.backend.name, "1", "memory")
