"""Engines built here and run here, against ONNX Runtime on the CPU and against float64."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_export.tensorrt.compiler import compile_rung
from foundry_edge_export.tensorrt.task import BuildTask
from foundry_edge_runtime.backends import get_backend
from foundry_edge_runtime.backends.trt import TensorRtBackend
from foundry_edge_runtime.backends.trt.engine import TensorRtEngine
from foundry_edge_runtime.backends.trt.library import installed
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import group_prepared, prepare
from tests.grouping.clouds import cloud
from tests.runtime.test_backends import clouds
from tests.runtime.tiny_bundle import expected

BATCHES = (1, 2, 8)


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def backend(request: pytest.FixtureRequest, gpu: str) -> TensorRtBackend:
    name: str = request.param
    if not installed(name):
        pytest.skip(f"{name} is not installed")
    found = TensorRtBackend(name)
    status = found.status()
    if not status.available:
        pytest.skip(f"{name} cannot be used here: {status.reason}")
    return found


def build(bundle: Bundle, backend: TensorRtBackend, rung: str) -> TensorRtEngine:
    """The engine of a rung; skips where the compiler does not know this GPU."""
    task = BuildTask(
        backend=backend.name,
        folder=os.fspath(bundle.folder),
        rung=rung,
        batches=BATCHES,
        capabilities=(),
        workspace=1 << 28,
    )
    try:
        plan = compile_rung(task).plan
    except BackendError as error:
        pytest.skip(f"{backend.name} does not build for this GPU: {error}")
    return backend.load_plan(plan, bundle.manifest.preprocessing)


def check(engine: TensorRtEngine, batch: int, precision: str = "fp32") -> None:
    found = engine.run(*clouds(batch))
    for value, reference in zip(vars(found).values(), expected(*clouds(batch), precision, 4), strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_engine_computes_its_graph(bundle: Bundle, backend: TensorRtBackend, precision: str) -> None:
    engine = build(bundle, backend, f"s4-{precision}")
    engine.warm()
    for batch in (1, 3, 1, 8, 20, 1):
        check(engine, batch, precision)
    engine.close()


def test_repeated_runs_give_the_same_numbers(bundle: Bundle, backend: TensorRtBackend) -> None:
    """The first run is enqueued, later ones are launched as a graph where that can be captured."""
    engine = build(bundle, backend, "s4-fp32")
    first, *others = [engine.run(*clouds(2)).tokens for _ in range(5)]
    for other in others:
        np.testing.assert_array_equal(other, first)
    engine.close()


def test_threads_share_an_engine(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = build(bundle, backend, "s4-fp32")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for batch in (1, 4, 1, 9):
                check(engine, batch)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine.close()


def test_time_is_split(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = build(bundle, backend, "s4-fp32")
    engine.warm(8)
    found = engine.split(*clouds(8))
    assert min(found.copy_in_ms, found.gpu_ms, found.copy_out_ms) >= 0
    assert found.gpu_ms > 0
    assert found.enqueue_ms > 0
    engine.close()


def test_engine_that_groups_computes_what_groups_of_the_cpu_give(
    bundle: Bundle, backend: TensorRtBackend
) -> None:
    engine, spec = build(bundle, backend, "s4-fp32"), bundle.manifest.preprocessing
    if not engine.groups_itself:
        pytest.skip(engine.describe().detail)
    for batch in (1, 3, 1, 8, 20):
        points = np.stack([prepare(cloud("tied", 300, seed), spec) for seed in range(batch)])
        found, centers = engine.run_points(points)
        grouped = [group_prepared(one, spec) for one in points]
        np.testing.assert_array_equal(centers, np.stack([one.centers for one in grouped]))
        other = engine.run(np.stack([one.groups for one in grouped]), centers)
        np.testing.assert_array_equal(found.tokens, other.tokens)
    engine.close()


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "tensorrt-rtx"])
def test_providers_of_onnxruntime(bundle: Bundle, provider: str) -> None:
    backend = get_backend(f"onnxruntime:{provider}")
    status = backend.status()
    if not status.available:
        pytest.skip(status.reason)
    rung = bundle.manifest.rung(4, "fp32")
    assert rung is not None
    engine = backend.load(bundle.graph(rung), bundle.manifest.preprocessing)
    for value, reference in zip(
        vars(engine.run(*clouds(3))).values(), expected(*clouds(3), "fp32", 4), strict=True
    ):
        np.testing.assert_allclose(value, reference, rtol=1e-2, atol=1e-2)
    engine.close()
