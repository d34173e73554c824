"""The precisions a rung can have, and what they are made for."""

from __future__ import annotations

from typing import Literal

from foundry_edge_runtime.bundle.manifest import PRECISIONS

__all__ = ["HALF", "PRECISIONS", "QUANTISED", "made_for"]

QUANTISED = ("int8", "int8-fp16")
HALF = ("fp16", "int8-fp16")
"""Compute in half precision what is not INT8: made for GPUs."""


def made_for(precision: str) -> Literal["any", "gpu"]:
    """What a rung of this precision is meant to run on."""
    return "gpu" if precision in HALF else "any"
