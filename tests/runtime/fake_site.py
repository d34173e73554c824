"""A machine with a fake GPU, a fake TensorRT, and plans in its store."""

from __future__ import annotations

import sys

import pytest

from foundry_edge_runtime.backends.cuda import grouping
from foundry_edge_runtime.backends.cuda.grouping import VARIABLE
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.plans import BatchProfile, PlanDevice, PlanKey, PlanManifest, PlanStore, device_of
from tests.runtime.fake_cuda import FakeGpu
from tests.runtime.fake_cuda_python import cuda_python
from tests.runtime.fake_nvrtc import nvrtc
from tests.runtime.fake_pycuda import pycuda, pycuda_compiler
from tests.runtime.fake_tensorrt import Plan, tensorrt

HERE = device_of("NVIDIA Fake", (8, 7), 13000)
_UNSET = {"name": "unset", "bytes": 0, "sha256": "0" * 64}


def install(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, library: str = "cuda-python", *, kernels: bool = False
) -> None:
    """Put the fakes where the libraries are; ``kernels``: the GPU groups, which needs g++."""
    bindings = cuda_python(gpu) if library == "cuda-python" else None
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", bindings)
    monkeypatch.setitem(sys.modules, "pycuda.driver", pycuda(gpu))
    install_compilers(monkeypatch)
    monkeypatch.setenv(VARIABLE, "1" if kernels else "0")
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, tensorrt(gpu, name=name))


def install_compilers(
    monkeypatch: pytest.MonkeyPatch, *, refusal: str = "", by_nvcc: Exception | None = None
) -> None:
    """Compilers that have compiled nothing yet; they take everything, or refuse with these words.

    Blocks are small from then on: each thread of an emulated block costs time.
    """
    monkeypatch.setattr(grouping, "_code", {})
    for name in ("_SAMPLING_THREADS", "_SORTING_THREADS"):
        monkeypatch.setattr(grouping, name, 3)
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", nvrtc(refusal))
    monkeypatch.setitem(sys.modules, "pycuda.compiler", pycuda_compiler(by_nvcc))


def keep_plan(
    bundle: Bundle, plan: Plan, *, device: PlanDevice = HERE, version: str = "10.3.0", rung: int = 0
) -> PlanManifest:
    """Put a plan of a rung into the store, as `foundry-edge build` does."""
    chosen = bundle.manifest.rungs[rung]
    key = PlanKey(
        graph_sha256=chosen.graph.sha256,
        weights_sha256=chosen.weights.sha256,
        backend="tensorrt",
        version=version,
        device=device,
        batch=BatchProfile(min=plan.batches[0], max=plan.batches[1]),
    )
    fields = {"rung": chosen.name, "key": key, "plan": _UNSET, "created": "2026-01-01", "build_seconds": 1}
    return PlanStore().save(PlanManifest.model_validate(fields), plan.content)
