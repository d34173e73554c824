"""Engines from plans, by TensorRT and by TensorRT for RTX: one code for both."""

from foundry_edge_runtime.backends.trt.backend import TensorRtBackend

__all__ = ["TensorRtBackend"]
