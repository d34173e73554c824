"""Engines from plans, with a fake TensorRT on a fake driver that notices every broken promise."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.backends.base import SplitEngine
from foundry_edge_runtime.backends.trt import TensorRtBackend
from foundry_edge_runtime.backends.trt.lanes import KEPT
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import BackendError, DeviceError
from foundry_edge_runtime.plans import PlanStore
from foundry_edge_runtime.profile.measure import Effort, visit
from tests.runtime.fake_cuda import COPY_MS, KERNEL_MS, NO_MEMORY, FakeGpu
from tests.runtime.fake_site import HERE, install, keep_plan
from tests.runtime.fake_tensorrt import Plan
from tests.runtime.tiny_bundle import GROUPS, SIZE, expected, write_bundle


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu()


@pytest.fixture(params=["cuda-python", "pycuda"], autouse=True)
def library(request: pytest.FixtureRequest, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    install(gpu, monkeypatch, name)
    return name


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(write_bundle(tmp_path / "bundle"))


@pytest.fixture
def backend(gpu: FakeGpu) -> Iterator[TensorRtBackend]:
    yield TensorRtBackend()
    gpu.check()


def clouds(batch: int, seed: int = 3) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    groups = rng.normal(size=(batch, GROUPS, SIZE, 3)).astype(np.float32)
    return groups, rng.normal(size=(batch, GROUPS, 3)).astype(np.float32)


def check(engine: Any, batch: int, seed: int = 3) -> None:
    """The engine computes what the graph does."""
    found = engine.run(*clouds(batch, seed))
    reference = expected(*clouds(batch, seed), "fp32", 1)
    for value, wanted in zip(vars(found).values(), reference, strict=True):
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)


def test_a_plan_of_the_store_computes_its_graph(bundle: Bundle, backend: TensorRtBackend) -> None:
    stored = keep_plan(bundle, Plan())
    engine = backend.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    engine.warm()
    for seed in range(3):
        for batch in (1, 3, 1, 8, 20):
            check(engine, batch, seed)
    info = engine.describe()
    assert (info.backend, info.version, info.device, info.plan) == (
        "tensorrt",
        "10.3.0",
        "cuda:0",
        stored.plan.sha256,
    )
    assert "NVIDIA Fake, page-locked memory through" in info.detail
    engine.close()
    engine.close()
    with pytest.raises(BackendError, match="was closed"):
        engine.run(*clouds(1))


@pytest.mark.parametrize("integrated", [False, True])
def test_integrated_gpus_copy_nothing(bundle: Bundle, gpu: FakeGpu, integrated: bool) -> None:
    gpu.integrated = integrated
    engine = TensorRtBackend().load_plan(Plan().content, bundle.manifest.preprocessing)
    for batch in (2, 1, 2):
        check(engine, batch)
    assert ("copy in" in gpu.calls) is not integrated
    assert ("copy out" in gpu.calls) is not integrated
    engine.close()
    gpu.check()


@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
def test_second_run_of_a_batch_size_is_a_graph(
    bundle: Bundle, gpu: FakeGpu, backend: TensorRtBackend, caplog: pytest.LogCaptureFixture
) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    for batch, kernels, launches in ((1, 2, 0), (1, 2, 1), (3, 4, 1), (3, 4, 2), (1, 4, 3)):
        check(engine, batch, seed=launches)
        assert (gpu.calls.count("kernel"), gpu.calls.count("launch")) == (kernels, launches)
    assert "as a CUDA graph" in engine.describe().detail
    engine.close()
    assert caplog.text == ""


@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
def test_refused_capture_is_said_once_and_costs_nothing_else(
    bundle: Bundle, gpu: FakeGpu, backend: TensorRtBackend, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.captures = False
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    for batch in (1, 1, 3, 3):
        check(engine, batch)
    assert "launch" not in gpu.calls
    assert gpu.calls.count("begin capture") == 1
    assert [record.getMessage() for record in caplog.records] == [
        "tensorrt: runs without a CUDA graph, somewhat slower: "
        "cuStreamEndCapture failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
    ]
    assert "without a CUDA graph" in engine.describe().detail
    engine.close()


@pytest.mark.parametrize("library", ["pycuda"], indirect=True)
def test_pycuda_runs_without_graphs_and_says_so_once(
    bundle: Bundle, backend: TensorRtBackend, caplog: pytest.LogCaptureFixture
) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    check(engine, 1)
    check(engine, 1)
    assert len(caplog.records) == 1
    assert "pycuda has no calls for them" in caplog.text
    engine.close()


@pytest.mark.parametrize("library", ["cuda-python"], indirect=True)
def test_rtx_is_asked_whether_it_can_be_captured(
    bundle: Bundle, gpu: FakeGpu, caplog: pytest.LogCaptureFixture
) -> None:
    plan = Plan(capturable=False)
    engine = TensorRtBackend("tensorrt-rtx").load_plan(plan.content, bundle.manifest.preprocessing)
    check(engine, 1)
    check(engine, 1)
    assert "begin capture" not in gpu.calls
    assert "does not capture this engine" in caplog.text
    engine.close()
    gpu.check()


def test_static_plan_takes_smaller_and_larger_batches(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = backend.load_plan(Plan(batches=(4, 4), static=True).content, bundle.manifest.preprocessing)
    for batch in (1, 4, 9):
        check(engine, batch)
    engine.close()


def test_headless_plan(bundle: Bundle, backend: TensorRtBackend) -> None:
    plan = Plan(outputs=("global", "tokens"))
    engine = backend.load_plan(plan.content, bundle.manifest.preprocessing)
    assert engine.run(*clouds(2)).logits is None
    engine.close()


def test_time_is_split_by_events(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    assert isinstance(engine, SplitEngine)
    for _ in range(2):
        found = engine.split(*clouds(2))
        assert (found.copy_in_ms, found.gpu_ms, found.copy_out_ms) == (COPY_MS, KERNEL_MS, COPY_MS)
        assert found.enqueue_ms > 0
        check(engine, 2)
    parts = engine.split(*clouds(17))
    assert (parts.copy_in_ms, parts.gpu_ms, parts.copy_out_ms) == (3 * COPY_MS, 3 * KERNEL_MS, 3 * COPY_MS)
    engine.close()


def test_batch_larger_than_the_plan_is_measured(
    bundle: Bundle, backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bench --batch 3` of a plan built for one cloud at a time, as plans are by default."""
    plan = Plan(batches=(1, 1)).content
    monkeypatch.setattr(backend, "load", lambda _, spec: backend.load_plan(plan, spec))
    effort = Effort(warm_runs=1, warm_seconds=0, runs=3, seconds=0, most=3)
    found = visit(bundle, bundle.manifest.rungs[0], backend, effort, batch=3)
    assert len(found.engine_ms) == 3
    assert found.profile.split_ms is not None
    assert found.profile.split_ms.copy_in == 3 * COPY_MS


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(half="tokens"), "tensor 'tokens' of the plan is HALF, expected FLOAT; build it again"),
        (Plan(half="groups"), "tensor 'groups' of the plan is HALF"),
        (Plan(group_size=SIZE + 1), r"inputs are .*'groups': \(-1, 4, 9, 3\).*expected .*\(4, 8, 3\)"),
        (Plan(outputs=("tokens",)), r"outputs are \['tokens'\], expected \['tokens', 'global'\]"),
        (Plan(outputs=("tokens", "global", "odd")), "outputs are .*'odd'"),
    ],
)
def test_plan_of_another_contract(bundle: Bundle, backend: TensorRtBackend, plan: Plan, message: str) -> None:
    with pytest.raises(BackendError, match=message) as caught:
        backend.load_plan(plan.content, bundle.manifest.preprocessing)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_plan(bundle: Bundle, backend: TensorRtBackend) -> None:
    with pytest.raises(
        BackendError, match=r"cannot be deserialised: .*magic tag does not match more; build"
    ) as e:
        backend.load_plan(b"rubbish", bundle.manifest.preprocessing)
    assert "\n" not in str(e.value)


def test_inputs_of_another_type_or_shape(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    groups, centers = clouds(2)
    for wrong, message in (
        (
            (groups.astype(np.float64), centers),
            r"groups is float64 \(2, 4, 8, 3\), expected float32 \(B, 4, 8",
        ),
        ((groups[:, :2], centers), r"groups is float32 \(2, 2, 8, 3\), expected float32 \(B, 4, 8, 3\)"),
        ((groups, centers[:1]), r"centers is float32 \(1, 4, 3\)"),
        ((groups[:0], centers[:0]), r"groups is float32 \(0, 4, 8, 3\)"),
    ):
        with pytest.raises(BackendError, match=message):
            engine.run(*wrong)
    check(engine, 2)
    engine.close()


def test_missing_stale_and_altered_plans_name_the_command(bundle: Bundle, backend: TensorRtBackend) -> None:
    graph, spec = bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing
    with pytest.raises(BackendError, match=r"no plan of tensorrt 10.3.0 .*foundry-edge build --backend tens"):
        backend.load(graph, spec)
    keep_plan(bundle, Plan(), version="10.2.0")
    with pytest.raises(BackendError, match=r"built with tensorrt 10.2.0, here is 10.3.0; build it with"):
        backend.load(graph, spec)
    stored = keep_plan(bundle, Plan())
    path = PlanStore().folder / stored.plan.name
    path.write_bytes(path.read_bytes().replace(b"fp32", b"fp16"))
    with pytest.raises(BackendError, match="does not have the hash in its manifest; build it with"):
        backend.load(graph, spec)


def test_engine_that_cannot_be_started(bundle: Bundle, backend: TensorRtBackend) -> None:
    engine = backend.load_plan(Plan(starts=False).content, bundle.manifest.preprocessing)
    for _ in range(2):
        with pytest.raises(
            BackendError, match="cannot be started: Cuda failure: CUDA_ERROR_LAUNCH_FAILED"
        ) as e:
            engine.run(*clouds(1))
        assert "\n" not in str(e.value)
    engine.close()


def test_threads_share_an_engine_and_nothing_else(
    bundle: Bundle, gpu: FakeGpu, backend: TensorRtBackend
) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for batch in (1, 2, 1, 5):
                check(engine, batch, seed)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert gpu.objects["Context"] <= KEPT
    engine.close()


def test_closing_while_another_thread_runs(
    bundle: Bundle, gpu: FakeGpu, backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    check(engine, 1)
    inside, closed = threading.Event(), threading.Event()
    monkeypatch.setattr(
        "foundry_edge_runtime.backends.cuda.device.Stream.synchronise", _waiting(inside, closed)
    )
    thread = threading.Thread(target=check, args=(engine, 1))
    thread.start()
    assert inside.wait(10)
    engine.close()
    assert gpu.live
    closed.set()
    thread.join()


def _waiting(inside: threading.Event, closed: threading.Event) -> Any:
    from foundry_edge_runtime.backends.cuda.device import Stream

    original = Stream.synchronise

    def synchronise(self: Stream) -> None:
        if not inside.is_set():
            inside.set()
            assert closed.wait(10)
        original(self)

    return synchronise


def test_full_memory_at_a_large_batch_leaves_the_engine_usable(
    bundle: Bundle, gpu: FakeGpu, backend: TensorRtBackend
) -> None:
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    check(engine, 1)
    gpu.fail_with = NO_MEMORY
    gpu.fail_at = len(gpu.calls) + 4
    with pytest.raises(BackendError, match="take a smaller batch") as caught:
        engine.run(*clouds(8))
    assert not isinstance(caught.value, DeviceError)
    check(engine, 1)
    check(engine, 8)
    engine.close()


def life(bundle: Bundle) -> None:
    """An engine from its plan to its end."""
    backend = TensorRtBackend()
    engine = backend.load(bundle.graph(bundle.manifest.rungs[0]), bundle.manifest.preprocessing)
    try:
        for batch in (1, 1, 2, 9):
            check(engine, batch)
        engine.split(*clouds(2))
    finally:
        engine.close()


def test_every_call_may_fail(
    library: str,
    gpu: FakeGpu,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Driver or library: one clear error or none, nothing freed twice, and no leak but what was refused."""
    keep_plan(bundle, Plan())
    life(bundle)
    gpu.check()
    calls = len(gpu.calls)
    assert calls > 100
    for number in range(1, calls + 1):
        broken = FakeGpu(fail_at=number)
        install(broken, monkeypatch, library)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            said = ending(bundle)
        failed = broken.calls[number - 1]
        if said is None:
            assert caplog.records or failed.startswith(("drop ", "pop")), failed
        else:
            assert "CUDA_ERROR_ILLEGAL_ADDRESS" in said, failed
            assert "\n" not in said
        broken.check(lost=2)
        if broken.live:
            assert failed.startswith(("drop ", "push", "pop", "synchronise")), failed


def ending(bundle: Bundle) -> str | None:
    """What the life of an engine ends with, None when nothing is raised."""
    try:
        life(bundle)
    except BackendError as error:
        return str(error)
    return None


def test_examine_and_missing_driver(
    gpu: FakeGpu, backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = backend.examine()
    assert (found.available, found.version, found.reason) == (True, "10.3.0", "")
    assert found.gpu == HERE.model_dump(mode="json")
    gpu.fail_at = len(gpu.calls) + 12
    broken = backend.examine()
    assert not broken.available
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in broken.reason
    for module in ("cuda.bindings.driver", "pycuda.driver"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "not installed" in backend.examine().reason
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert backend.examine().reason.startswith("the Python package 'tensorrt' cannot be imported: ")


def test_bindings_that_raise(
    bundle: Bundle, backend: TensorRtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do when the library gives them a null pointer."""
    engine = backend.load_plan(Plan().content, bundle.manifest.preprocessing)

    def null(*arguments: Any) -> None:
        del arguments  # as in C, no traceback refers to them
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with monkeypatch.context() as patch:
        patch.setattr("tests.runtime.fake_tensorrt.Context.execute_async_v3", null)
        with pytest.raises(BackendError, match=r"the library fails: pybind11::init\(\): factory"):
            engine.run(*clouds(1))
    with monkeypatch.context() as patch:
        patch.setattr("tests.runtime.fake_tensorrt.Context.set_input_shape", null)
        with pytest.raises(BackendError, match="the library fails"):
            engine.run(*clouds(2))
    check(engine, 2)
    engine.close()
    monkeypatch.setattr(sys.modules["tensorrt"], "Runtime", null)
    with pytest.raises(BackendError, match="tensorrt: the library fails: pybind11"):
        backend.load_plan(Plan().content, bundle.manifest.preprocessing)
    assert backend.examine().reason.startswith("pybind11::init()")
