"""What one scene gave, as Python object and as JSON record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.pointcloud import FloatArray, PointCloud
from foundry_edge_runtime.result import SCHEMA, input_record, points_record
from foundry_edge_runtime.scenes.frame import Frame
from foundry_edge_runtime.scenes.plan import Chunks
from foundry_edge_runtime.spent import memory_excess, memory_kept


@dataclass(frozen=True)
class Memory:
    """Resident memory of the process in MiB; None where the system does not tell.

    Attributes:
        base: before the scene was read.
        expected: peak by the plan.
        peak: peak of the process until the result was ready.
    """

    base: float | None
    expected: float
    peak: float | None


@dataclass(frozen=True, eq=False)
class SceneResult:
    """One scene, computed.

    Attributes:
        cloud: the points that were read.
        bundle: what was run.
        backend: what it ran on.
        supertokens: s.
        windows: how many windows the groups were mixed in.
        chunks: how much a stage was given at once.
        frame: how points were scaled into the unit ball.
        group_scale: what groups were multiplied by after that.
        read_ms: what reading took.
        stages_ms: time of each step, in order.
        memory: what the process took.
        limit_mb: what it was allowed.
        tokens: (c, d) float32, one feature for each group, in FPS order.
        centers: (c, 3) float32, the groups' centres in the unit ball.
        pooled: (2d,) float32 global feature, mean and maximum over the tokens.
        supertoken: (c,) int64, which SuperToken each group went to.
        saved: the file written by `--save`.
        points: the PLY file written by `--per-point`.
        scan: the number of the scan, counted from 1, where the input holds several.
    """

    cloud: PointCloud
    bundle: Bundle
    backend: str
    supertokens: int
    windows: int
    chunks: Chunks
    frame: Frame
    group_scale: float
    read_ms: float
    stages_ms: dict[str, float]
    memory: Memory
    limit_mb: float | None
    tokens: FloatArray = field(repr=False)
    centers: FloatArray = field(repr=False)
    pooled: FloatArray = field(repr=False)
    supertoken: npt.NDArray[np.int64] = field(repr=False)
    saved: Path | None = None
    points: Path | None = None
    scan: int | None = None

    @property
    def met(self) -> bool:
        """Whether the plan kept within the memory allowed: True, as no other plan is computed."""
        return self.limit_mb is None or self.memory.expected <= self.limit_mb

    @property
    def kept(self) -> bool | None:
        """Whether the process kept within the memory allowed; None where the system does not tell."""
        return memory_kept(self.limit_mb, self.memory.peak)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The reader's warnings, and that of a peak above the memory allowed."""
        over = memory_excess(self.limit_mb, self.memory.peak, len(self.cloud))
        return (*self.cloud.warnings, *over)

    @property
    def used(self) -> int:
        """SuperTokens that any group went to."""
        return len(np.unique(self.supertoken))

    @property
    def latency_ms(self) -> dict[str, float]:
        """The four times of `run --json`."""
        group = self.stages_ms["frame"] + self.stages_ms["group"]
        engine = sum(self.stages_ms.values()) - group
        return {
            "read": self.read_ms,
            "group": group,
            "engine": engine,
            "total": self.read_ms + group + engine,
        }

    def as_json(self) -> dict[str, Any]:
        """The object that `run --scene --json` prints: that of `run --json`, and a section ``scene``."""
        cloud = self.cloud
        return {
            "schema": SCHEMA,
            **input_record(cloud, self.scan),
            "points": points_record(cloud),
            "bounds": {"min": list(cloud.bounds.min), "max": list(cloud.bounds.max)},
            "warnings": list(self.warnings),
            "bundle": {"id": self.bundle.manifest.id, "source": self.bundle.source},
            "engine": {
                "tokens": self.supertokens,
                "precision": "fp32",
                "backend": self.backend,
                "reason": "the graphs for scenes",
            },
            "budget": {
                "max_latency_ms": None,
                "min_accuracy": None,
                "max_memory_mb": self.limit_mb,
                "met": self.met,
                "kept": self.kept,
            },
            "latency_ms": _rounded(self.latency_ms),
            "prediction": None,
            "features": {
                "tokens": list(self.tokens.shape),
                "global": len(self.pooled),
                "saved": None if self.saved is None else str(self.saved),
                **({} if self.points is None else {"points": str(self.points)}),
            },
            "scene": self._scene(),
        }

    def _scene(self) -> dict[str, Any]:
        memory = self.memory
        return {
            "groups": len(self.tokens),
            "group_size": self.bundle.manifest.preprocessing.group_size,
            "windows": self.windows,
            "chunks": vars(self.chunks),
            "supertokens": {"given": self.supertokens, "used": self.used},
            "frame": {"centre": list(self.frame.centre), "radius": self.frame.radius},
            "group_scale": self.group_scale,
            "stages_ms": _rounded(self.stages_ms),
            "memory_mb": _rounded({name: value for name, value in vars(memory).items() if value is not None}),
        }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
