"""Student to ONNX, precision, gates and bundle. Names load on first use: writing bundles needs no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry_edge_export.exporter import export as export
    from foundry_edge_export.report import ExportReport as ExportReport

__all__ = ["ExportReport", "export"]

_PUBLIC = {"ExportReport": "report", "export": "exporter"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'foundry_edge_export' has no attribute {name!r}")
    return getattr(import_module(f"foundry_edge_export.{_PUBLIC[name]}"), name)
