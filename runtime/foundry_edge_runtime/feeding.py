"""From a cloud to an engine's outputs, whichever side groups: sessions compute so, and bench times it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from foundry_edge_runtime.backends.base import Engine, GroupingEngine, Outputs, Split, SplitEngine
from foundry_edge_runtime.grouping import Groups, Preprocessing, group_prepared, prepare
from foundry_edge_runtime.pointcloud import FloatArray


@dataclass(frozen=True)
class Ready:
    """A cloud as far as the CPU has brought it.

    Attributes:
        points: (N, 3) float32, sampled and normalised.
        groups: of these points; None where the engine is to make them.
    """

    points: FloatArray
    groups: Groups | None


def grouping_engine(engine: Engine) -> GroupingEngine | None:
    """The engine, if it groups by itself here; asked by name, for `isinstance` of a protocol takes 0.1 ms."""
    return cast("GroupingEngine", engine) if getattr(engine, "groups_itself", False) else None


def make_ready(xyz: FloatArray, spec: Preprocessing, engine: Engine) -> Ready:
    """What the CPU does with a cloud (M, 3) float32 before an engine computes it."""
    points = prepare(xyz, spec)
    return Ready(points, None if grouping_engine(engine) else group_prepared(points, spec))


def compute(engine: Engine, batch: Sequence[Ready], spec: Preprocessing) -> tuple[Outputs, FloatArray]:
    """Run clouds through an engine at once.

    Clouds that were made ready for another engine, which was replaced since, are computed as well; what they
    lack is made on the CPU.

    Returns:
        The outputs, and the centres (B, c, 3) float32.

    Raises:
        BackendError: the engine failed.
    """
    grouping = grouping_engine(engine)
    if grouping and all(one.groups is None for one in batch):
        return grouping.run_points(np.stack([one.points for one in batch]))
    groups, centers = _stacked(batch, spec)
    return engine.run(groups, centers), centers


def split(engine: Engine, batch: Sequence[Ready], spec: Preprocessing) -> Split | None:
    """Where the time of `compute` goes; None when the engine does not tell."""
    grouping = grouping_engine(engine)
    if grouping:
        return grouping.split_points(np.stack([one.points for one in batch]))
    return engine.split(*_stacked(batch, spec)) if isinstance(engine, SplitEngine) else None


def _stacked(batch: Sequence[Ready], spec: Preprocessing) -> tuple[FloatArray, FloatArray]:
    """Groups (B, c, K, 3) and centres (B, c, 3)."""
    grouped = [one.groups or group_prepared(one.points, spec) for one in batch]
    return np.stack([one.groups for one in grouped]), np.stack([one.centers for one in grouped])
