"""Engines that group on the GPU: from a session to the inputs of a fake TensorRT, by emulated kernels."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime import feeding, planned
from foundry_edge_runtime.backends.cuda import grouping, open_grouping
from foundry_edge_runtime.backends.cuda.grouping import VARIABLE
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.backends.trt import TensorRtBackend
from foundry_edge_runtime.backends.trt import backend as trt_backend
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import group_points, group_prepared, prepare
from foundry_edge_runtime.profile import Effort, measure
from foundry_edge_runtime.session import Session
from tests.runtime.emulated import needs_compiler
from tests.runtime.fake_cuda import COPY_MS, KERNEL_MS, FakeGpu
from tests.runtime.fake_site import install, keep_plan
from tests.runtime.fake_tensorrt import Plan
from tests.runtime.tiny_bundle import expected, write_bundle

pytestmark = needs_compiler
SHORT = Effort(warm_runs=1, warm_seconds=0, runs=3, seconds=0, most=3)
SOURCE = Path(grouping.__file__).with_name("grouping.cu").read_text()


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture(params=["cuda-python", "pycuda"], autouse=True)
def library(request: pytest.FixtureRequest, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    install(gpu, monkeypatch, name, kernels=True)
    return name


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(write_bundle(tmp_path / "bundle"))


@pytest.fixture
def backend(gpu: FakeGpu) -> Iterator[TensorRtBackend]:
    yield TensorRtBackend()
    gpu.check()


def scans(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    ties = [rng.integers(0, 5, (300, 3)).astype(np.float32) for _ in range(count)]
    return [scan if number % 2 else scan + rng.random(3, np.float32) for number, scan in enumerate(ties)]


def check(engine: Any, bundle: Bundle, count: int, seed: int = 0) -> None:
    """What comes of points is what comes of the groups that the CPU makes, and so are the centres."""
    spec = bundle.manifest.preprocessing
    clouds = scans(count, seed)
    found, centers = engine.run_points(np.stack([prepare(one, spec) for one in clouds]))
    grouped = [group_points(one, spec) for one in clouds]
    groups = np.stack([one.groups for one in grouped])
    np.testing.assert_array_equal(centers, np.stack([one.centers for one in grouped]))
    for value, other in zip(vars(found).values(), vars(engine.run(groups, centers)).values(), strict=True):
        np.testing.assert_array_equal(value, other)
    np.testing.assert_allclose(found.tokens, expected(groups, centers, "fp32", 1)[0], rtol=1e-5, atol=1e-5)


def load(backend: TensorRtBackend, bundle: Bundle, plan: Plan = Plan()) -> Any:
    return backend.load_plan(plan.content, bundle.manifest.preprocessing)


@pytest.mark.parametrize("integrated", [False, True])
def test_points_become_what_groups_become(bundle: Bundle, gpu: FakeGpu, integrated: bool) -> None:
    gpu.integrated = integrated
    engine = load(TensorRtBackend(), bundle)
    assert feeding.grouping_engine(engine) is not None
    engine.warm()
    for seed in range(2):
        for count in (1, 3, 1, 8, 20):
            check(engine, bundle, count, seed)
    assert engine.describe().detail.endswith("graph, groups on the GPU")
    assert ("copy in" in gpu.calls) is not integrated
    engine.close()
    gpu.check()


def test_a_static_plan_computes_rows_that_no_cloud_fills(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = load(backend, bundle, Plan(batches=(4, 4), static=True))
    for count in (1, 4, 2, 6):
        check(engine, bundle, count)
    engine.close()


@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
def test_kernels_are_in_the_graph(bundle: Bundle, gpu: FakeGpu, backend: TensorRtBackend) -> None:
    engine = load(backend, bundle)
    points = np.stack([prepare(one, bundle.manifest.preprocessing) for one in scans(2)])
    first, _ = engine.run_points(points)
    before = gpu.calls.count("kernel"), gpu.calls.count("launch")
    second, _ = engine.run_points(points)
    assert (gpu.calls.count("kernel"), gpu.calls.count("launch")) == (before[0], before[1] + 1)
    np.testing.assert_array_equal(first.tokens, second.tokens)
    engine.close()


def test_time_is_split_with_the_kernels_in_it(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = load(backend, bundle)
    points = np.stack([prepare(one, bundle.manifest.preprocessing) for one in scans(2)])
    for _ in range(2):
        found = engine.split_points(points)
        assert (found.copy_in_ms, found.gpu_ms, found.copy_out_ms) == (COPY_MS, 3 * KERNEL_MS, COPY_MS)
        engine.run_points(points)
    parts = engine.split_points(np.repeat(points, 5, axis=0))
    assert (parts.copy_in_ms, parts.gpu_ms) == (2 * COPY_MS, 6 * KERNEL_MS)
    engine.close()


def test_threads_share_an_engine(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = load(backend, bundle)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for count in (1, 2, 1):
                check(engine, bundle, count, seed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    engine.close()


@pytest.mark.parametrize("shape", [(1, 63, 3), (0, 64, 3), (64, 3)])
def test_points_of_another_shape(bundle: Bundle, backend: TensorRtBackend, shape: tuple[int, ...]) -> None:
    engine = load(backend, bundle)
    with pytest.raises(BackendError, match=r"points is float32 .*, expected float32 \(B, 64, 3\)"):
        engine.run_points(np.zeros(shape, np.float32))
    engine.close()


def test_kernels_are_compiled_once_in_a_process(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def compile_source(_driver: object, source: str, _capability: tuple[int, int]) -> bytes:
        compiled.append(source)
        return source.encode()

    for driver in ("cuda_python.CudaPython", "py_cuda.PyCuda"):
        monkeypatch.setattr(
            f"foundry_edge_runtime.backends.cuda.{driver}.compile",
            compile_source,
        )
    for _ in range(3):
        load(TensorRtBackend(), bundle).close()
    assert compiled == [SOURCE]


def broken_kernels(monkeypatch: pytest.MonkeyPatch, folder: Path, said: str, other: str) -> None:
    assert said in SOURCE
    path = folder / "broken.cu"
    path.write_text(SOURCE.replace(said, other))
    monkeypatch.setattr(grouping, "_SOURCE", path)


SUM = "__fadd_rn(__fadd_rn(__fmul_rn(dx, dx), __fmul_rn(dy, dy)), __fmul_rn(dz, dz))"


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ("~(unsigned)i)", "(unsigned)i)"),
        (SUM, "dx * dx + (dy * dy + dz * dz)"),
        (SUM, "__builtin_fmaf(dz, dz, __builtin_fmaf(dy, dy, dx * dx))"),
    ],
)
def test_kernels_that_give_other_groups_are_not_used(
    bundle: Bundle,
    backend: TensorRtBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    said: str,
    other: str,
) -> None:
    broken_kernels(monkeypatch, tmp_path, said, other)
    engine = load(backend, bundle)
    assert on_the_cpu(engine, caplog) == "the kernels give other groups than the CPU"
    engine.close()


def on_the_cpu(engine: Any, caplog: pytest.LogCaptureFixture) -> str:
    """Why an engine groups on the CPU, after it was found to be said once, and told by the engine."""
    assert not engine.groups_itself
    with pytest.raises(BackendError, match="groups on the CPU"):
        engine.run_points(np.zeros((1, 64, 3), np.float32))
    (line,) = [one.getMessage() for one in caplog.records if "CUDA graph" not in one.getMessage()]
    head, reason = line.split("groups on the CPU: ")
    assert head == "tensorrt: "
    assert engine.describe().detail.endswith(f"groups on the CPU: {reason}")
    return reason


def test_without_a_compiler_the_cpu_groups(
    bundle: Bundle,
    backend: TensorRtBackend,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("cuda.bindings.nvrtc", "pycuda.compiler"):
        monkeypatch.setitem(sys.modules, name, None)
    engine = load(backend, bundle)
    reason = {"cuda-python": "NVRTC: not installed", "pycuda": "pycuda: the kernels cannot be compiled"}
    assert on_the_cpu(engine, caplog).startswith(reason[library])
    assert "groups on the CPU: " + reason[library] in backend.examine().grouping
    engine.close()


def test_what_the_kernels_do_not_take_the_cpu_groups(
    bundle: Bundle,
    backend: TensorRtBackend,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(grouping, "POINTS", 63)
    engine = load(backend, bundle)
    wanted = "64 points in groups of 8: the kernels take at most 63, and no more in a group"
    assert on_the_cpu(engine, caplog) == wanted
    engine.close()


@pytest.mark.parametrize("by_environment", [False, True])
def test_switched_off(
    bundle: Bundle,
    gpu: FakeGpu,
    by_environment: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if by_environment:
        monkeypatch.setenv(VARIABLE, "0")
    backend = TensorRtBackend(grouping=None if by_environment else False)
    engine = load(backend, bundle)
    assert not engine.groups_itself
    assert "groups on the CPU: switched off" in engine.describe().detail
    assert "groups on the CPU: switched off" in backend.examine().grouping
    assert "groups on the CPU" not in caplog.text
    assert "make module" not in gpu.calls
    engine.close()
    gpu.check()


def test_examine_tells_which_side_groups(backend: TensorRtBackend) -> None:
    assert backend.examine().grouping == "groups on the GPU"


def no_grouping(*_arguments: object) -> None:
    raise AssertionError("the CPU groups")


def test_measured_with_grouping_in_the_engine_s_time(
    bundle: Bundle, backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_plan(bundle, Plan())
    rung = bundle.manifest.rungs[0]
    with_kernels = backend
    without = TensorRtBackend(grouping=False)
    assert not measure(bundle, rung, without, SHORT).gpu_grouping
    load(with_kernels, bundle).close()  # checked against the CPU, which groups for that
    monkeypatch.setattr(trt_backend, "open_grouping", _unchecked(open_grouping, monkeypatch))
    found = measure(bundle, rung, with_kernels, SHORT, batch=2)
    assert found.gpu_grouping
    assert found.split_ms is not None
    assert found.split_ms.gpu == 3 * KERNEL_MS


def _unchecked(original: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As it is; afterwards the CPU must not group."""

    def opened(*arguments: Any) -> Any:
        found = original(*arguments)
        monkeypatch.setattr(feeding, "group_prepared", no_grouping)
        return found

    return opened


@pytest.fixture
def session_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fakes live in this process, so backends are tried in it."""
    status = TensorRtBackend().examine()
    monkeypatch.setattr(trt_backend, "probed", lambda _: status)
    monkeypatch.setattr(trt_backend, "installed", lambda name: name == "tensorrt")
    monkeypatch.setattr(planned, "gpu_present", lambda: True)
    monkeypatch.setattr(planned, "installed", lambda name: False)


def test_a_session_hands_over_points(
    bundle: Bundle, gpu: FakeGpu, session_site: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_plan(bundle, Plan(tokens=4), rung=1)
    scan, pinned = scans(1)[0], Budget(tokens=4, precision="fp32")
    with Session(bundle, replace(pinned, backend="onnxruntime")) as cpu:
        wanted = cpu.run(scan)
    with Session(bundle, replace(pinned, backend="tensorrt"), notify=pytest.fail) as session:
        monkeypatch.setattr(feeding, "group_prepared", no_grouping)
        for _ in range(3):
            found = session.run(scan)
            np.testing.assert_array_equal(found.centers, wanted.centers)
            np.testing.assert_allclose(found.tokens, wanted.tokens, rtol=1e-5, atol=1e-5)
        several = session.compute([session.prepare(one) for one in scans(3)])
        for result in several:
            grouped = group_points(result.cloud.xyz, bundle.manifest.preprocessing)
            np.testing.assert_array_equal(result.centers, grouped.centers)
            assert result.latency.group > 0
    gpu.check()


def test_clouds_made_ready_for_an_engine_that_was_replaced(bundle: Bundle, backend: TensorRtBackend) -> None:
    """Either way, and in one batch: nothing is lost when `--adaptive` or a failure changes the engine."""
    spec = bundle.manifest.preprocessing
    on_gpu = load(backend, bundle)
    on_cpu = FakeBackend().load(bundle.graph(bundle.manifest.rungs[0]), spec)
    batch = [
        feeding.make_ready(one, spec, engine) for one, engine in zip(scans(2), (on_gpu, on_cpu), strict=True)
    ]
    assert [one.groups is None for one in batch] == [True, False]
    centers = np.stack([group_prepared(one.points, spec).centers for one in batch])
    for engine in (on_gpu, on_cpu):
        outputs, found = feeding.compute(engine, batch, spec)
        np.testing.assert_array_equal(found, centers)
        assert len(outputs.tokens) == 2
    on_gpu.close()


def life(bundle: Bundle) -> None:
    """An engine that groups, from its plan to its end."""
    engine = TensorRtBackend().load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    spec = bundle.manifest.preprocessing
    try:
        for count in (1, 1, 3):
            clouds = [feeding.make_ready(one, spec, engine) for one in scans(count)]
            _, centers = feeding.compute(engine, clouds, spec)
            for row, one in enumerate(clouds):
                np.testing.assert_array_equal(centers[row], group_prepared(one.points, spec).centers)
        feeding.split(engine, clouds[:2], spec)
    finally:
        engine.close()


def ending(bundle: Bundle) -> str | None:
    """What the life of an engine ends with, None when nothing is raised."""
    try:
        life(bundle)
    except BackendError as error:
        return str(error)
    return None


def test_every_call_may_fail(
    library: str,
    gpu: FakeGpu,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One clear error, or one line and groups by the CPU; nothing freed twice, no leak but of refusals."""
    keep_plan(bundle, Plan(batches=(1, 2)))
    monkeypatch.setattr("foundry_edge_runtime.backends.cuda.points._TIED", 1)
    life(bundle)
    gpu.check()
    calls, on_cpu = len(gpu.calls), 0
    assert calls > 130
    for number in range(1, calls + 1):
        broken = FakeGpu(fail_at=number)
        install(broken, monkeypatch, library, kernels=True)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            said = ending(bundle)
        failed = broken.calls[number - 1]
        if said is None:
            assert caplog.records or failed.startswith(("drop ", "pop")), failed
            on_cpu += "groups on the CPU: " in caplog.text
        else:
            assert "CUDA_ERROR_ILLEGAL_ADDRESS" in said, failed
            assert "\n" not in said
        broken.check(lost=2)
        if broken.live:
            assert failed.startswith(("drop ", "push", "pop", "synchronise")), failed
    assert on_cpu > 10


@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
def test_a_session_does_every_scan_whichever_call_fails(
    library: str, session_site: None, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And right: by the kernels, by groups of the CPU, or by the next backend."""
    monkeypatch.setattr("foundry_edge_runtime.backends.cuda.points._TIED", 1)
    keep_plan(bundle, Plan(tokens=4), rung=1)
    scan, pinned = scans(1)[0], Budget(tokens=4, precision="fp32")
    with Session(bundle, replace(pinned, backend="onnxruntime")) as session:
        wanted = session.run(scan)
    ways = set()
    for number in itertools.count(1):
        broken = FakeGpu(fail_at=number)
        install(broken, monkeypatch, library, kernels=True)
        with Session(bundle, pinned) as session:
            for _ in range(2):
                found = session.run(scan)
                np.testing.assert_array_equal(found.centers, wanted.centers)
                np.testing.assert_allclose(found.tokens, wanted.tokens, rtol=1e-5, atol=1e-5)
            ways.add((session.choice.backend, feeding.grouping_engine(session._engine) is not None))
        broken.check(lost=2)
        if number > len(broken.calls):
            break
    assert ways == {("tensorrt", True), ("tensorrt", False), ("onnxruntime", False)}
