"""Student to ONNX, precision, gates and bundle."""

from foundry_edge_export.export import export
from foundry_edge_export.report import ExportReport

__all__ = ["ExportReport", "export"]
