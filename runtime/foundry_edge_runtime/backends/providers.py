"""ONNX Runtime's execution providers: what a session asks for, in order, and with which options.

The options are those of onnxruntime.ai/docs/execution-providers, where TensorRT's flags are True or False.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from foundry_edge_runtime.bundle.load import Graph
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.device import gpus
from foundry_edge_runtime.plans.folder import secure
from foundry_edge_runtime.versions import versions

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "bf16": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
_BEHIND = {"cuda": ("cpu",), "tensorrt": ("cuda", "cpu"), "tensorrt-rtx": ("cpu",)}
_VERSIONS = ("foundry-edge", "onnxruntime")
Asked = str | tuple[str, dict[str, Any]]


def asked(provider: str, graph: Graph, available: Collection[str]) -> list[Asked]:
    """The providers of a session: the one named, then those that take the nodes it does not.

    Args:
        provider: a key of `PROVIDERS`.
        graph: what is loaded.
        available: names of the providers of this build of ONNX Runtime.

    Raises:
        StorageError: the folder for compiled engines cannot be trusted or written.
    """
    names = (provider, *(one for one in _BEHIND.get(provider, ()) if PROVIDERS[one] in available))
    return [_with_options(one, graph) for one in names]


def _with_options(provider: str, graph: Graph) -> Asked:
    options = _cuda() if provider == "cuda" else _tensorrt(graph) if provider == "tensorrt" else {}
    return (PROVIDERS[provider], options) if options else PROVIDERS[provider]


def _cuda() -> dict[str, Any]:
    """TF32 is switched off, as in the plans of `build`: an FP32 rung is the reference."""
    return {"use_tf32": 0}


def _tensorrt(graph: Graph) -> dict[str, Any]:
    """The precisions of the rung, and where compiled engines and the timing of kernels are kept."""
    precision = {"trt_int8_enable": "int8" in graph.precision, "trt_fp16_enable": "fp16" in graph.precision}
    if not graph.sha256:
        return precision  # a graph made up to try the provider with
    folder = engine_folder(graph)
    return {
        **precision,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder.parent),
    }


def engine_folder(graph: Graph) -> Path:
    """The folder for the engines of one graph, made so that only this user can write to it.

    ONNX Runtime takes an engine that lies there for that of its graph and runs it. It tells graphs apart by
    names and shapes, so the folder is one for these files, this precision, these versions and these GPUs.

    Raises:
        StorageError: see `secure`.
    """
    made_of = [graph.sha256, graph.weights_sha256, graph.precision, gpus(), versions(_VERSIONS)]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    folder = cache_folder() / "onnxruntime-tensorrt" / digest[:32]
    for one in (folder.parent, folder):
        secure(one)
    return folder
