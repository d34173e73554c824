"""Engines from plans, by TensorRT and by TensorRT for RTX: one code for both.

`TensorRtBackend` is imported when it is asked for: whether a library is installed can be told without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry_edge_runtime.backends.trt.backend import TensorRtBackend

__all__ = ["TensorRtBackend"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from foundry_edge_runtime.backends.trt.backend import TensorRtBackend  # noqa: PLC0415

        return TensorRtBackend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
