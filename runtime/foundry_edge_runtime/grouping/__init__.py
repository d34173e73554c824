"""Deterministic, permutation-invariant grouping of points on the CPU."""

from foundry_edge_runtime.grouping.canonical import canonical_order
from foundry_edge_runtime.grouping.compiled import GroupingPath, accelerate
from foundry_edge_runtime.grouping.group import (
    Groups,
    Preprocessing,
    group_batch,
    group_indices,
    group_points,
    group_prepared,
    prepare,
    to_model_frame,
)
from foundry_edge_runtime.grouping.neighbours import nearest_neighbours
from foundry_edge_runtime.grouping.sampling import normalise
from foundry_edge_runtime.grouping.scene import SceneGroups, group_scene

__all__ = [
    "GroupingPath",
    "Groups",
    "Preprocessing",
    "SceneGroups",
    "accelerate",
    "canonical_order",
    "group_batch",
    "group_indices",
    "group_points",
    "group_prepared",
    "group_scene",
    "nearest_neighbours",
    "normalise",
    "prepare",
    "to_model_frame",
]
