"""Deterministic, permutation-invariant grouping of points on the CPU."""

from foundry_edge_runtime.grouping.canonical import canonical_order
from foundry_edge_runtime.grouping.group import (
    Groups,
    Preprocessing,
    group_indices,
    group_points,
    prepare,
    to_model_frame,
)
from foundry_edge_runtime.grouping.sampling import farthest_point_sample, normalise

__all__ = [
    "Groups",
    "Preprocessing",
    "canonical_order",
    "farthest_point_sample",
    "group_indices",
    "group_points",
    "normalise",
    "prepare",
    "to_model_frame",
]
