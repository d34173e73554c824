"""The torch-free runtime: read a scan, choose an engine by budget, run it.

    from foundry_edge_runtime import Budget, Session, load_bundle, read_points

    result = Session(load_bundle(), Budget(max_latency_ms=10)).run(read_points("scan.pcd"))

Names are imported when they are first used, so importing the package costs nothing.

ONNX Runtime 1.29 and newer sends usage data to Microsoft, and keeps an identifier in the home folder, unless
it is told not to before it is imported. It is told so here; set ORT_DISABLE_TELEMETRY=0 to allow it.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from foundry_edge_runtime.budget import Budget
    from foundry_edge_runtime.bundle import Bundle, load_bundle
    from foundry_edge_runtime.choice import Choice, choose
    from foundry_edge_runtime.errors import (
        BackendError,
        BundleError,
        FoundryEdgeError,
        GateError,
        InputError,
        MissingExtraError,
        ScanError,
        StorageError,
    )
    from foundry_edge_runtime.grouping import accelerate
    from foundry_edge_runtime.inspection import inspect
    from foundry_edge_runtime.interpolation import point_features
    from foundry_edge_runtime.parts.result import PartResult
    from foundry_edge_runtime.pointcloud import PointCloud
    from foundry_edge_runtime.readers import find_scans, read_points
    from foundry_edge_runtime.result import Result
    from foundry_edge_runtime.scenes.run import run_scene
    from foundry_edge_runtime.scenes.session import SceneSession
    from foundry_edge_runtime.session import Session

_ERRORS = (
    "BackendError",
    "BundleError",
    "FoundryEdgeError",
    "GateError",
    "InputError",
    "MissingExtraError",
    "ScanError",
    "StorageError",
)
_HOMES = {
    "Budget": "budget",
    "Bundle": "bundle",
    "Choice": "choice",
    "PartResult": "parts.result",
    "PointCloud": "pointcloud",
    "Result": "result",
    "SceneSession": "scenes.session",
    "Session": "session",
    "accelerate": "grouping",
    "choose": "choice",
    "find_scans": "readers",
    "inspect": "inspection",
    "load_bundle": "bundle",
    "point_features": "interpolation",
    "read_points": "readers",
    "run_scene": "scenes.run",
    **dict.fromkeys(_ERRORS, "errors"),
}

__all__ = [
    "BackendError",
    "Budget",
    "Bundle",
    "BundleError",
    "Choice",
    "FoundryEdgeError",
    "GateError",
    "InputError",
    "MissingExtraError",
    "PartResult",
    "PointCloud",
    "Result",
    "ScanError",
    "SceneSession",
    "Session",
    "StorageError",
    "accelerate",
    "choose",
    "find_scans",
    "inspect",
    "load_bundle",
    "point_features",
    "read_points",
    "run_scene",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
