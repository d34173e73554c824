"""Sessions and bench on engines built ahead: when they are taken, and what happens when they fail."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime import planned
from foundry_edge_runtime.backends.trt import backend as trt_backend
from foundry_edge_runtime.bench import bench
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.doctor import doctor
from foundry_edge_runtime.errors import BackendError, DeviceError
from foundry_edge_runtime.plans import PlanRefusal, PlanStore
from foundry_edge_runtime.profile import Effort, load_profile
from foundry_edge_runtime.profile.isolated import measure_isolated
from foundry_edge_runtime.profile.measure import Visit, visit
from foundry_edge_runtime.profile.model import EngineFailure
from foundry_edge_runtime.session import Session
from tests.runtime.fake_cuda import FakeGpu
from tests.runtime.fake_site import install, keep_plan
from tests.runtime.fake_tensorrt import Plan

SHORT = Effort(warm_runs=1, warm_seconds=0, runs=3, seconds=0, most=3)
BEST = 1  # s4-fp32 of the tiny bundle is the most accurate
CLOUD = np.random.default_rng(0).normal(size=(300, 3))


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """Fakes live in this process, so nothing is tried or measured in another one."""
    found = FakeGpu()
    install(found, monkeypatch)
    monkeypatch.setattr(trt_backend, "installed", lambda name: name == "tensorrt")
    monkeypatch.setattr(planned, "gpu_present", lambda: True)
    monkeypatch.setattr(planned, "installed", lambda name: False)
    monkeypatch.setattr(trt_backend, "probed", lambda name: trt_backend.TensorRtBackend(name).examine())
    for module in ("foundry_edge_runtime.profile.isolated", "foundry_edge_runtime.bench"):
        monkeypatch.setattr(f"{module}.visit_isolated", visit_here)
    return found


def visit_here(
    bundle: Bundle, rung: object, name: str, effort: Effort, *, batch: int = 1
) -> Visit | EngineFailure:
    from foundry_edge_runtime.backends import get_backend
    from foundry_edge_runtime.bundle.manifest import Rung

    assert isinstance(rung, Rung)
    try:
        return visit(bundle, rung, get_backend(name), SHORT, batch=batch)
    except BackendError as error:
        return EngineFailure.of(rung, name, error, batch)


def visit_board(
    bundle: Bundle, rung: object, name: str, effort: Effort, *, batch: int = 1
) -> Visit | EngineFailure:
    """On a board that gets hot and tells its power while TensorRT runs."""
    seen = visit_here(bundle, rung, name, effort, batch=batch)
    assert isinstance(seen, Visit)
    hot = {"temperature_c": 61.5, "power_w": 7.21} if name == "tensorrt" else {"temperature_c": 48.24}
    return seen._replace(profile=seen.profile.model_copy(update=hot))


def best_plan(tokens: int = 4) -> Plan:
    return Plan(tokens=tokens)


def same_as_onnxruntime(bundle: Bundle, session: Session) -> None:
    with Session(bundle, Budget(backend="onnxruntime", tokens=4, precision="fp32")) as other:
        np.testing.assert_allclose(session.run(CLOUD).tokens, other.run(CLOUD).tokens, rtol=1e-5, atol=1e-5)


def test_engine_built_ahead_is_taken(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    with Session(bundle, notify=pytest.fail) as session:
        assert (session.choice.rung.name, session.choice.backend) == ("s4-fp32", "tensorrt")
        same_as_onnxruntime(bundle, session)
        assert session.run(CLOUD).choice.backend == "tensorrt"
    gpu.check()


def test_pin_of_another_backend_tries_no_gpu(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    with Session(bundle, Budget(backend="onnxruntime"), notify=pytest.fail) as session:
        assert session.choice.backend == "onnxruntime"
    gpu.check()


def test_gpu_without_plans_is_told_in_one_line(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned, "installed", lambda name: name == "tensorrt")
    said: list[str] = []
    with Session(bundle, notify=said.append) as session:
        assert session.choice.backend == "onnxruntime"
    assert said == [
        "no engine of this bundle was built for the GPU here; "
        "build them with: foundry-edge build --backend tensorrt"
    ]
    assert gpu.calls == []


def test_plans_without_a_gpu_are_no_business_of_this_machine(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    monkeypatch.setattr(planned, "gpu_present", lambda: False)
    with Session(bundle, notify=pytest.fail) as session:
        assert session.choice.backend == "onnxruntime"
    assert gpu.calls == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("version", "was built with tensorrt 10.2.0, here is 10.3.0"),
        ("device", "was built for Orin (8.7), this is NVIDIA Fake (8.7)"),
        ("manifest", "its manifest"),
        ("folder", "is writable by others"),
        ("bytes", "does not have the hash in its manifest"),
    ],
)
def test_plan_that_is_stale_or_altered(bundle: Bundle, gpu: FakeGpu, change: str, words: str) -> None:
    from foundry_edge_runtime.plans import PlanDevice

    orin = PlanDevice(gpu="Orin", compute_capability=("8.7",), driver="1", cuda="13.0")
    named = {"version": {"version": "10.2.0"}, "device": {"device": orin}}.get(change, {})
    stored = keep_plan(bundle, best_plan(), rung=BEST, **named)  # type: ignore[arg-type]
    folder = PlanStore().folder
    if change == "folder":
        folder.chmod(0o777)
    elif change in {"manifest", "bytes"}:
        name = stored.plan.name if change == "bytes" else f"{stored.key.stem}.manifest.json"
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
    said: list[str] = []
    with Session(bundle, notify=said.append) as session:
        assert (session.choice.rung.name, session.choice.backend) == ("s4-fp32", "onnxruntime")
        same_as_onnxruntime(bundle, session)
    assert len(said) == 1
    assert words in said[0]
    assert "foundry-edge build" in said[0]
    gpu.check()


def test_library_that_is_broken_now(bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    gpu.fail_at = 1
    said: list[str] = []
    with Session(bundle, notify=said.append) as session:
        assert session.choice.backend == "onnxruntime"
    assert len(said) == 1
    assert "engines built by tensorrt are not used: " in said[0]
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in said[0]


def test_pinned_backend_without_a_plan(bundle: Bundle, gpu: FakeGpu) -> None:
    with pytest.raises(
        BackendError, match=r"has built no engine .*foundry-edge build --backend tens"
    ) as caught:
        Session(bundle, Budget(backend="tensorrt"))
    assert caught.value.exit_code == 3
    gpu.check()


def test_gpu_that_dies_mid_stream_gives_way_once(bundle: Bundle, gpu: FakeGpu) -> None:
    """Two engines are on it; one line is said, the scan under way is done, and so are all that follow."""
    keep_plan(bundle, best_plan(), rung=BEST)
    keep_plan(bundle, best_plan(1), rung=0)
    said: list[str] = []
    with Session(bundle, notify=said.append) as session:
        for _ in range(3):
            assert session.run(CLOUD).choice.backend == "tensorrt"
        gpu.fail_at = len(gpu.calls) + gpu.calls[::-1].index("synchronise") + 1
        for _ in range(3):
            result = session.run(CLOUD)
        assert (result.choice.rung.name, result.choice.backend) == ("s4-fp32", "onnxruntime")
        same_as_onnxruntime(bundle, session)
    assert len(said) == 1
    assert said[0].startswith("engine s4-fp32 failed, going on without tensorrt: ")
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in said[0]
    gpu.check()


def test_strict_session_ends_with_the_environment_s_exit_code(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    session = Session(bundle, strict=True)
    session.run(CLOUD)
    gpu.fail_at = len(gpu.calls) + 1
    with pytest.raises(DeviceError) as caught:
        session.run(CLOUD)
    assert caught.value.exit_code == 3
    session.close()
    gpu.check(lost=1)


def test_engine_that_only_this_rung_cannot_run(bundle: Bundle, gpu: FakeGpu) -> None:
    """A refusal of the library costs one engine, not the GPU."""
    keep_plan(bundle, Plan(tokens=4, starts=False), rung=BEST)
    keep_plan(bundle, best_plan(1), rung=0)
    said: list[str] = []
    with Session(bundle, Budget(precision="fp32"), notify=said.append) as session:
        assert (session.choice.rung.name, session.choice.backend) == ("s4-fp32", "onnxruntime")
    with Session(bundle, Budget(tokens=1, precision="fp32"), notify=said.append) as session:
        assert session.choice.backend == "tensorrt"
    assert len(said) == 1
    assert "s4-fp32 failed, taking the next: tensorrt: the engine cannot be started" in said[0]
    gpu.check()


def test_numbers_that_are_not_finite(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, Plan(tokens=4, spoilt=True), rung=BEST)
    said: list[str] = []
    with Session(bundle, notify=said.append) as session:
        assert session.run(CLOUD).choice.backend == "onnxruntime"
    assert len(said) == 1
    assert "not finite" in said[0]
    gpu.check()


def test_bench_measures_what_was_built_ahead(bundle: Bundle, gpu: FakeGpu) -> None:
    stored = keep_plan(bundle, best_plan(), rung=BEST)
    found = bench(bundle.folder, effort=SHORT)
    engines = [one for one in found.profile.engines if one.backend == "tensorrt"]
    assert [(one.tokens, one.precision, one.plan_sha256) for one in engines] == [
        (4, "fp32", stored.plan.sha256)
    ]
    assert len(found.profile.engines) == 5
    assert found.profile.failures == ()
    split = engines[0].split_ms
    assert split is not None
    assert (split.copy_in, split.gpu, split.copy_out) == (1.0, 5.0, 1.0)
    assert split.enqueue > 0
    kept = load_profile(bundle.manifest)
    assert kept.planned is None
    assert len(kept.engines) == 5
    gpu.check()


def test_measurement_counts_for_that_plan_alone(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    rung = bundle.manifest.rungs[BEST]
    profile = bench(bundle.folder, effort=SHORT).profile
    assert {one.backend for one in profile.measured(rung)} == {"onnxruntime", "tensorrt"}
    (PlanStore().folder / f"{PlanStore().manifests()[0].key.stem}.manifest.json").unlink()
    without = planned.with_plans(profile, bundle.manifest, pytest.fail)
    assert {one.backend for one in without.measured(rung)} == {"onnxruntime"}
    keep_plan(bundle, Plan(tokens=4, batches=(1, 4)), rung=BEST)
    rebuilt = planned.with_plans(profile, bundle.manifest, pytest.fail)
    assert {one.backend for one in rebuilt.measured(rung)} == {"onnxruntime"}
    assert rebuilt.backends(rung) == ("tensorrt",)
    assert rebuilt.lacks(rung)


def test_faster_of_two_backends_is_taken_once_both_were_measured(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    profile = bench(bundle.folder, effort=SHORT).profile
    slow = {"onnxruntime": 9.0, "tensorrt": 2.0}
    for slower, faster in (("onnxruntime", "tensorrt"), ("tensorrt", "onnxruntime")):
        engines = tuple(
            one.model_copy(
                update={"total_ms": one.total_ms.model_copy(update={"p90": slow.get(one.backend, 1.0)})}
            )
            for one in profile.engines
        )
        known = profile.model_copy(update={"engines": engines})
        with Session(bundle, Budget(tokens=4, precision="fp32"), profile=known) as session:
            assert session.choice.backend == faster, slower
        slow = {"onnxruntime": 2.0, "tensorrt": 9.0}
    gpu.check()


def test_budget_measures_engines_built_ahead(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    said: list[str] = []
    with Session(bundle, Budget(max_latency_ms=2000), notify=said.append) as session:
        assert session.choice.met
        assert session.choice.backend == "tensorrt"
    assert len(said) == 1
    assert "measured 1 of 4 engines here" in said[0]
    gpu.check()


def test_adaptive_ladder_loses_all_engines_of_a_dead_gpu(bundle: Bundle, gpu: FakeGpu) -> None:
    for rung, tokens in ((0, 1), (BEST, 4)):
        keep_plan(bundle, best_plan(tokens), rung=rung)
    profile = bench(bundle.folder, effort=SHORT).profile
    times = {("s4-fp32", "tensorrt"): 4.0, ("s1-fp32", "tensorrt"): 3.0, ("s1-int8", "onnxruntime"): 2.0}
    engines = []
    for one in profile.engines:
        name = f"s{one.tokens}-{one.precision}"
        p90 = times.get((name, one.backend), 50.0)
        engines.append(one.model_copy(update={"total_ms": one.total_ms.model_copy(update={"p90": p90})}))
    known = profile.model_copy(update={"engines": tuple(engines)})
    said: list[str] = []
    budget = Budget(max_latency_ms=1000)
    with Session(bundle, budget, profile=known, adaptive=True, notify=said.append) as session:
        assert session.rungs is not None
        assert [choice.backend for choice in session.rungs.choices].count("tensorrt") == 2
        session.run(CLOUD)
        gpu.fail_at = len(gpu.calls) + gpu.calls[::-1].index("synchronise") + 1
        assert session.run(CLOUD).choice.backend == "onnxruntime"
        assert session.rungs is not None
        assert {choice.backend for choice in session.rungs.choices} == {"onnxruntime"}
    assert len(said) == 1
    gpu.check()


def test_measuring_apart_is_the_real_thing(bundle: Bundle) -> None:
    """Without fakes: the process that measures says what is missing."""
    found = measure_isolated(bundle, bundle.manifest.rungs[0], "tensorrt-rtx", SHORT)
    assert isinstance(found, EngineFailure)
    assert found.reason


def test_doctor_tells_what_was_built_and_what_is_stale(bundle: Bundle, gpu: FakeGpu) -> None:
    keep_plan(bundle, best_plan(), rung=BEST)
    keep_plan(bundle, best_plan(1), rung=0, version="10.2.0")
    record = doctor(bundle.folder).as_json()
    assert json.loads(json.dumps(record)) == record
    assert record["bundle"]["built_here"] == ["s4-fp32 on tensorrt"]
    (problem,) = record["bundle"]["unusable_plans"]
    assert problem.startswith("1 of 2 engines built by tensorrt are not used: s1-fp32: ")
    listed = {one["name"]: one for one in record["backends"]}
    assert listed["tensorrt"]["gpu"]["gpu"] == "NVIDIA Fake"
    gpu.check()


def test_bench_names_the_backends_in_a_column(
    bundle: Bundle, gpu: FakeGpu, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from foundry_edge.cli.bench import _show

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("foundry_edge_runtime.bench.visit_isolated", visit_board)
    _show(bench(bundle.folder, effort=SHORT))
    printed = capsys.readouterr().out
    assert " backend " not in printed
    assert "\ntemperature up to 48.2 C, power not available\n" in printed
    keep_plan(bundle, best_plan(), rung=BEST)
    _show(bench(bundle.folder, effort=SHORT))
    lines = capsys.readouterr().out.splitlines()
    (head,) = [line for line in lines if "p50 ms" in line]
    assert head.split()[:2] == ["tokens", "backend"]
    rows = [line.split()[:3] for line in lines if " fp32 " in line or " int8 " in line]
    assert sorted(row for row in rows if row[2] == "tensorrt") == [["4", "fp32", "tensorrt"]]
    assert len(rows) == 5
    assert "temperature up to 61.5 C, power up to 7.2 W" in lines
    gpu.check()


def test_workers_are_told_and_do_not_look_again(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned, "installed", lambda name: name == "tensorrt")
    said: list[str] = []
    profile = planned.with_plans(load_profile(bundle.manifest), bundle.manifest, said.append)
    assert len(said) == 1
    with Session(bundle, profile=profile, notify=pytest.fail):
        pass


def test_rung_that_the_compiler_refused_is_not_told_again(bundle: Bundle, gpu: FakeGpu) -> None:
    stored = keep_plan(bundle, best_plan(), rung=BEST)
    other = bundle.manifest.rungs[0]
    hashes = {"graph_sha256": other.graph.sha256, "weights_sha256": other.weights.sha256}
    key = stored.key.model_copy(update=hashes)
    PlanStore().refuse(PlanRefusal(rung=other.name, key=key, reason="node a/Exp", created="2026-01-01"))
    with Session(bundle, notify=pytest.fail) as session:
        assert session.choice.backend == "tensorrt"
    with Session(bundle, Budget(tokens=1, precision="fp32"), notify=pytest.fail) as session:
        assert session.choice.backend == "onnxruntime"
    gpu.check()


def test_every_call_of_the_driver_may_fail_in_a_session(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is, every scan is done, and right, and at most one line is said."""
    keep_plan(bundle, best_plan(), rung=BEST)
    status = trt_backend.TensorRtBackend().examine()
    monkeypatch.setattr(trt_backend, "probed", lambda _: status)
    gpu.check()
    pinned = Budget(tokens=4, precision="fp32")
    with Session(bundle, replace(pinned, backend="onnxruntime")) as session:
        wanted = session.run(CLOUD).tokens
    number, backends = 0, set[str]()
    while True:
        number += 1
        broken = FakeGpu(fail_at=number)
        install(broken, monkeypatch)
        monkeypatch.setitem(sys.modules, "pycuda.driver", None)
        said: list[str] = []
        with Session(bundle, pinned, notify=said.append) as session:
            for _ in range(3):
                np.testing.assert_allclose(session.run(CLOUD).tokens, wanted, rtol=1e-5, atol=1e-5)
            backends.add(session.choice.backend)
        broken.check(lost=2)
        if number > len(broken.calls):
            break
        assert len(said) <= 1
        assert all("CUDA_ERROR_ILLEGAL_ADDRESS" in line for line in said)
        assert (session.choice.backend == "onnxruntime") == bool(said)
    assert number > 60
    assert backends == {"tensorrt", "onnxruntime"}
