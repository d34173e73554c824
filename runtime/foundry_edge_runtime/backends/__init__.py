"""Inference backends behind one small protocol (base.py)."""

from foundry_edge_runtime.backends.base import Backend, BackendStatus, Engine, EngineInfo, Outputs
from foundry_edge_runtime.backends.registry import (
    DEFAULT,
    available_backend,
    backend_names,
    backend_statuses,
    get_backend,
)

__all__ = [
    "DEFAULT",
    "Backend",
    "BackendStatus",
    "Engine",
    "EngineInfo",
    "Outputs",
    "available_backend",
    "backend_names",
    "backend_statuses",
    "get_backend",
]
