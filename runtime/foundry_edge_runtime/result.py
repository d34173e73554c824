"""What one scan gave: class, features, engine and timings, as Python object and as JSON record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.choice import Choice
from foundry_edge_runtime.parts.result import PartResult
from foundry_edge_runtime.pointcloud import FloatArray, PointCloud
from foundry_edge_runtime.profile.measure import usual_points
from foundry_edge_runtime.spent import Spent, excesses, kept

SCHEMA = 1
TOP = 5


@dataclass(frozen=True)
class Prediction:
    """One class and its probability."""

    label: str
    score: float


@dataclass(frozen=True)
class Latency:
    """Where the time went, in ms; grouping on the GPU is in the engine's, and sampling alone in ``group``."""

    read: float
    group: float
    engine: float
    total: float


@dataclass(frozen=True, eq=False)
class Result:
    """One scan, computed.

    Attributes:
        cloud: the points that were read.
        bundle: what was run.
        choice: the engine and why it was chosen.
        budget: what was asked for.
        latency: in ms.
        top: the best classes, most probable first; None when the rung has no head.
        tokens: (c, d) float32, one feature for each group.
        centers: (c, 3) float32, the groups' centres in normalised coordinates.
        pooled: (2d,) float32 global feature, mean and maximum over the tokens.
        logits: (labels,) float32, None when the rung has no head.
        saved: the file written by `--save`.
        points: the PLY file written by `--per-point`.
        scan: the number of the scan, counted from 1, where the input holds several.
        parts: the part of every point, where that was asked for and a category is likely or was named.
        parts_warning: what is doubtful about them, "" for nothing.
        peak_mb: peak resident memory of the process in MiB until the result was ready, where the budget
            limits it and the system tells.
    """

    cloud: PointCloud
    bundle: Bundle
    choice: Choice
    budget: Budget
    latency: Latency
    top: tuple[Prediction, ...] | None
    tokens: FloatArray = field(repr=False)
    centers: FloatArray = field(repr=False)
    pooled: FloatArray = field(repr=False)
    logits: FloatArray | None = field(repr=False, default=None)
    saved: Path | None = None
    points: Path | None = None
    scan: int | None = None
    parts: PartResult | None = None
    parts_warning: str = ""
    peak_mb: float | None = None

    @property
    def confident(self) -> bool:
        """Whether the top class reaches the manifest's ``min_score``; False without a head."""
        return self.top is not None and self.top[0].score >= self.bundle.manifest.min_score

    @property
    def warnings(self) -> tuple[str, ...]:
        """The reader's, then those of a budget not kept, of an unlikely class and of doubtful parts."""
        usual = usual_points(self.bundle.manifest.preprocessing)
        over = excesses(self.budget, self._spent, self.choice, usual)
        return (*self.cloud.warnings, *over, *filter(None, (self._doubt, self.parts_warning)))

    @property
    def _doubt(self) -> str:
        if self.top is None or self.confident:
            return ""
        best = self.top[0]
        return (
            f"no confident class: the best is {best.label} with {best.score:.2f}, below "
            f"{self.bundle.manifest.min_score:g}; the head knows single objects, not scenes"
        )

    @property
    def kept(self) -> bool | None:
        """Whether this scan kept the latency and memory of the budget; None where the memory is not known."""
        return kept(self.budget, self._spent)

    @property
    def _spent(self) -> Spent:
        return Spent(self.latency.group + self.latency.engine, self.peak_mb, len(self.cloud))

    def as_json(self) -> dict[str, Any]:
        """The object that `run --json` prints."""
        cloud, budget = self.cloud, self.budget
        return {
            "schema": SCHEMA,
            **input_record(cloud, self.scan),
            "points": points_record(cloud),
            "bounds": {"min": list(cloud.bounds.min), "max": list(cloud.bounds.max)},
            "warnings": list(self.warnings),
            "bundle": {"id": self.bundle.manifest.id, "source": self.bundle.source},
            "engine": {
                "tokens": self.choice.rung.tokens,
                **({"bypassed": self.choice.rung.bypassed} if self.choice.rung.bypassed else {}),
                "precision": self.choice.rung.precision,
                "backend": self.choice.backend,
                "reason": self.choice.reason,
            },
            "budget": {
                "max_latency_ms": budget.max_latency_ms,
                "min_accuracy": budget.min_accuracy,
                "max_memory_mb": budget.max_memory_mb,
                "met": self.choice.met,
                "kept": self.kept,
            },
            "latency_ms": {name: round(value, 3) for name, value in vars(self.latency).items()},
            "prediction": None if self.top is None else {"top": [vars(one) for one in self.top]},
            **({} if self.parts is None else {"parts": self.parts.as_json()}),
            "features": {
                "tokens": list(self.tokens.shape),
                "global": len(self.pooled),
                "saved": None if self.saved is None else str(self.saved),
                **({} if self.points is None else {"points": str(self.points)}),
            },
        }


def input_record(cloud: PointCloud, scan: int | None) -> dict[str, Any]:
    """Where a scan comes from: its name, its number where there are several, and a ROS message's header."""
    return {
        "input": cloud.source,
        **({} if scan is None else {"scan": scan}),
        **({} if cloud.header is None else {"header": cloud.header.as_json()}),
    }


def points_record(cloud: PointCloud) -> dict[str, Any]:
    """Counts of points read, kept and dropped."""
    dropped = {"non_finite": 0, "out_of_range": 0, **cloud.dropped}
    return {"read": cloud.read, "valid": len(cloud), "dropped": dropped}


def probabilities(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Softmax of logits (labels,), float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    scores: npt.NDArray[np.float64] = shifted / shifted.sum()
    return scores


def top_classes(logits: FloatArray, labels: tuple[str, ...]) -> tuple[Prediction, ...]:
    """The `TOP` classes by softmax, ties in the order of the labels.

    Args:
        logits: (labels,) float32.
        labels: their names.
    """
    scores = probabilities(logits)
    best = np.argsort(-scores, kind="stable")[:TOP]
    return tuple(Prediction(labels[i], float(scores[i])) for i in best)
