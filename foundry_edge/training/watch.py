"""What is watched during pre-training: linear probes and signs of collapse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge.data.groupings import GroupedShapes, group_shapes
from foundry_edge.data.shapes import ShapeSet
from foundry_edge.measures.features import at, global_features
from foundry_edge.measures.probe import probe_accuracy
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import Compute
from foundry_edge.training.engine import LogRow
from foundry_edge.training.report import Report

PROBE_SHAPES = 800
COLLAPSED_STD = 0.01
LEAST = 10
"""Labelled shapes a class, on average, that a probe needs."""


@dataclass(frozen=True)
class ValidationProbe:
    """A linear probe fitted and checked on two parts of the training side of one labelled set."""

    name: str
    groups: GroupedShapes
    labels: npt.NDArray[np.int64]
    fit: int

    def accuracy(self, teacher: Teacher) -> float:
        """Accuracy on the validation part, percent."""
        compute = Compute.of(teacher)
        with compute.autocast():
            features = global_features(at(compute.device, teacher.encode_groups), self.groups)
        fit, check = slice(None, self.fit), slice(self.fit, None)
        return probe_accuracy((features[fit], self.labels[fit]), (features[check], self.labels[check]))


def validation_probes(sides: list[ShapeSet], config: TeacherConfig, most: int = 2) -> list[ValidationProbe]:
    """Probes on the sets with the most labelled shapes on the training side (ten a class or more)."""
    return [_probe(s, config) for s in sorted(_probed(sides), key=len, reverse=True)[:most]]


def why_no_probe(sides: list[ShapeSet]) -> str:
    """Why `validation_probes` finds none; empty where it finds some."""
    if _probed(sides):
        return ""
    known = [s for s in _known(sides) if len(s)]
    if not known:
        return "no labelled set"
    if all(len(np.unique(s.label)) < 2 for s in known):
        return "labels of one class only"
    return f"fewer than {LEAST} labelled training shapes a class"


def _probed(sides: list[ShapeSet]) -> list[ShapeSet]:
    """The labelled shapes of the sets that a probe can be fitted to."""
    return [s for s in _known(sides) if 2 <= len(np.unique(s.label)) <= len(s) // LEAST]


def _known(sides: list[ShapeSet]) -> list[ShapeSet]:
    return [s.where(s.label >= 0) for s in sides]


def _probe(shapes: ShapeSet, config: TeacherConfig) -> ValidationProbe:
    order = np.random.default_rng(0).permutation(len(shapes))[:PROBE_SHAPES]
    groups = group_shapes(shapes.xyz[order], config.preprocessing, 1, 0)
    return ValidationProbe(shapes.name, groups, shapes.label[order], len(order) * 3 // 4)


def watch_probes(
    report: Report, teacher: Teacher, probes: list[ValidationProbe], every: int
) -> Callable[[LogRow], None]:
    """Print and log every probe about every ``every`` steps, and at the end."""
    last = -1

    def call(row: LogRow) -> None:
        nonlocal last
        if row.step // every == last and row.step != row.steps:
            return
        last = row.step // every
        accuracies = {f"probe_{p.name}": round(p.accuracy(teacher), 2) for p in probes}
        report.note({"stage": report.stage, "step": row.step, **accuracies})
        shown = "  ".join(f"{name} {value:.1f} %" for name, value in accuracies.items())
        report.console.print(f"{report.stage} {row.step}/{row.steps}  validation {shown}", highlight=False)

    return call


def watch_collapse(report: Report) -> Callable[[LogRow], None]:
    """Warn when the features' standard deviation over clouds and tokens is close to zero."""

    def call(row: LogRow) -> None:
        spread = row.figures.get("feature_std", 1.0)
        if spread < COLLAPSED_STD:
            report.console.print(f"warning: the features collapse (standard deviation {spread:.4f})")

    return call
