"""What is measured, and how it is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from foundry_edge_runtime import device
from foundry_edge_runtime.backends import get_backend
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.bench import bench
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.bundle.manifest import Rung
from foundry_edge_runtime.errors import BackendError, BundleError, InputError, StorageError
from foundry_edge_runtime.profile import (
    QUICK,
    THOROUGH,
    Effort,
    EngineFailure,
    EngineProfile,
    Quantiles,
    cache_folder,
    empty_profile,
    isolated,
    load_profile,
    measure,
    profile_path,
    save_profile,
)
from foundry_edge_runtime.profile.isolated import measure_isolated, visit_isolated
from foundry_edge_runtime.profile.measure import Visit, pooled, visit
from foundry_edge_runtime.selection import quick_profile, select, unmeasured
from tests.runtime.tiny_bundle import read_manifest, write_manifest

SHORT = Effort(warm_runs=1, warm_seconds=0, runs=3, seconds=0, most=3)


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


def test_measured_times_are_those_of_the_engine(bundle: Bundle) -> None:
    rung = bundle.manifest.rungs[0]
    found = measure(bundle, rung, FakeBackend(latency_ms={rung.graph.name: 5.0}), SHORT)
    assert 5.0 <= found.engine_ms.p50 <= found.engine_ms.p90 <= found.engine_ms.p99
    assert found.group_ms.p50 + 5.0 <= found.total_ms.p99
    assert (found.runs, found.backend, found.of(rung)) == (3, "fake", True)


def test_sensors_are_read_while_the_engine_works(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU whose engine is closed is idle, and so is what its sensors tell."""
    backend, events = FakeBackend(), list[str]()
    load = backend.load

    def watched(*arguments: Any) -> Any:
        engine = load(*arguments)
        for name in ("run", "close"):
            monkeypatch.setattr(engine, name, noted(name, getattr(engine, name)))
        return engine

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def both(*arguments: Any) -> Any:
            events.append(name)
            return call(*arguments)

        return both

    def sense() -> dict[str, float | None]:
        events.append("sense")
        before = len(events)
        while len(events) < before + 2:
            time.sleep(0.001)
        return {"power_w": 9.5, "temperature_c": 55.0}

    monkeypatch.setattr(backend, "load", watched)
    found = visit(bundle, bundle.manifest.rungs[0], backend, SHORT, sense=sense)
    assert (found.profile.power_w, found.profile.temperature_c) == (9.5, 55.0)
    assert len(found.engine_ms) == SHORT.runs
    at = events.index("sense")
    assert set(events[:at]) == {"run"}
    assert events[at + 1 : at + 3] == ["run", "run"]
    assert events[-1] == "close"


def test_isolated_measurement_reads_the_sensors_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the process runs, in this one."""
    monkeypatch.setattr(isolated, "power_w", lambda: 7.25)
    rung = bundle.manifest.rungs[0]
    task = (str(bundle.folder), rung.tokens, 0, rung.precision, "onnxruntime", 1, asdict(SHORT))
    monkeypatch.setattr("sys.argv", ["isolated", json.dumps(task)])
    assert isolated.main() == 0
    answer = json.loads(capsys.readouterr().out.partition(":")[2])
    assert answer["visit"][0]["power_w"] == 7.25
    assert len(answer["visit"][1]) == len(answer["visit"][2]) == SHORT.runs


def test_visits_are_pooled(bundle: Bundle) -> None:
    """A stretch of slowness in one visit shows in the upper quantiles, wherever the median falls."""
    rung = bundle.manifest.rungs[0]
    first, second = (visit(bundle, rung, FakeBackend(), SHORT) for _ in range(2))
    first = first._replace(group_ms=[1.0] * 6, engine_ms=[3.0] * 6)
    second = second._replace(group_ms=[1.0] * 4, engine_ms=[2.0] * 4)
    first = first._replace(profile=first.profile.model_copy(update={"memory_mb": 90.0}))
    found = pooled(first, second)
    assert (found.total_ms.p50, found.total_ms.p90, found.group_ms.p99) == (4.0, 4.0, 1.0)
    assert (found.runs, found.memory_mb) == (10, 90.0)


def test_quantiles_never_flatter() -> None:
    found = Quantiles.of([float(value) for value in range(1, 11)])
    assert (found.p50, found.p90, found.p99) == (6.0, 10.0, 10.0)


def test_stored_and_loaded(bundle: Bundle, cache: Path) -> None:
    profile = empty_profile(bundle.manifest).add(
        measure(bundle, bundle.manifest.rungs[0], FakeBackend(), SHORT)
    )
    path = save_profile(profile)
    assert path.parent.parent == cache == cache_folder()
    assert load_profile(bundle.manifest) == profile


def test_key_holds_device_versions_and_bundle(bundle: Bundle) -> None:
    profile = empty_profile(bundle.manifest)
    paths = {
        profile_path(profile),
        profile_path(profile.model_copy(update={"bundle_id": "other"})),
        profile_path(profile.model_copy(update={"device": {**profile.device, "cpus": "99"}})),
        profile_path(profile.model_copy(update={"versions": {**profile.versions, "onnxruntime": "0"}})),
    }
    assert len(paths) == 4
    assert profile.versions["onnxruntime"]
    assert profile.device["cpu"]


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff", b'{"schema_version": 9}'])
def test_damaged_profile_counts_as_none(bundle: Bundle, content: bytes) -> None:
    path = save_profile(empty_profile(bundle.manifest))
    path.write_bytes(content)
    assert load_profile(bundle.manifest) == empty_profile(bundle.manifest)


def test_profile_of_another_device_under_this_name_counts_as_none(bundle: Bundle) -> None:
    path = save_profile(empty_profile(bundle.manifest))
    record = json.loads(path.read_text())
    record["device"]["cpu"] = "another"
    path.write_text(json.dumps(record))
    assert load_profile(bundle.manifest) == empty_profile(bundle.manifest)


def test_measurement_of_changed_files_is_not_used(bundle: Bundle, bundle_folder: Path) -> None:
    rung = bundle.manifest.rungs[0]
    save_profile(empty_profile(bundle.manifest).add(measure(bundle, rung, FakeBackend(), SHORT)))
    assert load_profile(bundle.manifest).measured(rung)
    manifest = read_manifest(bundle_folder)
    manifest["rungs"][0]["graph"]["sha256"] = "a" * 64
    write_manifest(bundle_folder, manifest)
    changed = load_bundle(bundle_folder).manifest
    assert not load_profile(changed).measured(changed.rungs[0])


def test_new_result_takes_the_place_of_the_old(bundle: Bundle) -> None:
    rung = bundle.manifest.rungs[0]
    first, second = (measure(bundle, rung, FakeBackend(), SHORT) for _ in range(2))
    failure = EngineFailure(tokens=rung.tokens, precision=rung.precision, backend="fake", reason="broke")
    profile = empty_profile(bundle.manifest).add(first).add(second)
    assert profile.engines == (second,)
    assert profile.add(failure).engines == ()
    assert profile.add(failure).failed(rung, "fake")
    assert profile.add(failure).add(first).failures == ()


def test_isolated_measurement_knows_the_peak_memory(bundle: Bundle) -> None:
    rung = bundle.manifest.rungs[0]
    found = measure_isolated(bundle, rung, "onnxruntime", SHORT)
    assert isinstance(found, EngineProfile)
    assert found.of(rung)
    assert found.memory_mb is not None
    assert 20 < found.memory_mb < 400


def test_a_damaged_bundle_is_an_error_and_no_failure_of_its_engines(bundle: Bundle) -> None:
    """Profiles go by the manifest: a failure kept there would count against every sound copy."""
    rung = bundle.manifest.rungs[0]
    (bundle.folder / rung.weights.name).unlink()
    with pytest.raises(BundleError, match=r"fp32\.bin: cannot be opened") as here:
        measure_isolated(bundle, rung, "onnxruntime", SHORT)
    assert here.value.remedy
    with pytest.raises(BundleError):
        quick_profile(bundle, Budget(), isolated=True)
    assert load_profile(bundle.manifest).failures == ()


def test_memory_of_an_engine_leaves_out_the_compiled_grouping(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resident = iter([50.0, 175.0, 230.0])
    monkeypatch.setattr(isolated, "accelerate", lambda compile_now: None)
    monkeypatch.setattr(isolated, "resident_mb", lambda peak=False: next(resident))
    rung = bundle.manifest.rungs[0]
    task = (str(bundle.folder), rung.tokens, 0, rung.precision, "onnxruntime", 1, asdict(SHORT))
    monkeypatch.setattr("sys.argv", ["isolated", json.dumps(task)])
    assert isolated.main() == 0
    assert json.loads(capsys.readouterr().out.partition(":")[2])["visit"][0]["memory_mb"] == 105.0


def test_crash_of_an_engine_is_a_result(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The measuring process is killed by a signal, as a driver that crashes would do it."""
    crash = tmp_path / "python"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crash))
    found = measure_isolated(bundle, bundle.manifest.rungs[0], "onnxruntime", SHORT)
    assert isinstance(found, EngineFailure)
    assert found.reason == "the process died of SIGSEGV"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 0", "the process ended with exit code 0"),
        ("echo '[TRT] loading'", "the process ended with exit code 0"),
        ("echo first >&2; echo no room >&2; exit 1", "the process ended with exit code 1 (no room)"),
    ],
)
def test_process_without_an_answer_is_a_failure(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str
) -> None:
    silent = tmp_path / "python"
    silent.write_text(f"#!/bin/sh\n{script}\n")
    silent.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(silent))
    found = measure_isolated(bundle, bundle.manifest.rungs[0], "onnxruntime", SHORT)
    assert isinstance(found, EngineFailure)
    assert found.reason == reason
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    found = measure_isolated(bundle, bundle.manifest.rungs[0], "onnxruntime", SHORT)
    assert isinstance(found, EngineFailure)
    assert found.reason.startswith("cannot be measured: ")


def test_result_among_what_libraries_print(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CUDA, TensorRT and ONNX Runtime write to stdout before and after the answer."""
    chatty = tmp_path / "python"
    chatty.write_text(f"#!/bin/sh\nprintf 'a driver speaks'\n'{sys.executable}' \"$@\"\necho goodbye\n")
    chatty.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(chatty))
    assert isinstance(measure_isolated(bundle, bundle.manifest.rungs[0], "onnxruntime", SHORT), EngineProfile)


def test_bench_measures_every_rung_and_stores(bundle_folder: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    found = bench(bundle_folder, effort=SHORT, progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(done, 8) for done in range(8)]
    assert [step[2] for step in seen[:4]] == [step[2] for step in seen[4:]]
    assert {engine.runs for engine in found.profile.engines} == {6}
    assert found.profile.complete(found.bundle.manifest)
    assert found.profile.failures == ()
    assert load_profile(found.bundle.manifest) == found.profile.model_copy(update={"planned": None})
    record = found.as_json()
    assert len(record["engines"]) == 4
    assert json.loads(json.dumps(record)) == record


def test_bench_lists_what_fails_and_does_not_keep_it(bundle_folder: Path) -> None:
    (bundle_folder / "int8.bin").write_bytes(b"")
    found = bench(bundle_folder, effort=SHORT)
    assert {failure.precision for failure in found.profile.failures} == {"int8"}
    assert load_profile(found.bundle.manifest).failures == ()


@pytest.mark.parametrize("bad", [1, 2])
def test_bench_keeps_the_visit_that_did_not_fail(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    visits: list[str] = []

    def visit_here(
        bundle: Bundle, rung: Rung, name: str, effort: Effort, *, batch: int
    ) -> Visit | EngineFailure:
        visits.append(rung.name)
        if rung.name == "s4-int8" and visits.count(rung.name) == bad:
            return EngineFailure.of(rung, name, "gave no result within 9 s", batch)
        return visit(bundle, rung, get_backend(name), effort, batch=batch)

    monkeypatch.setattr("foundry_edge_runtime.bench.visit_isolated", visit_here)
    said: list[str] = []
    profile = bench(bundle_folder, effort=SHORT, batch=[2], notify=said.append).profile
    assert profile.failures == ()
    assert sorted(one.runs for one in profile.engines) == [3, 6, 6, 6]
    told = "one of two visits to s4-int8 on onnxruntime, batch 2, failed: gave no result within 9 s"
    assert [line for line in said if "visits" in line] == [told]


def test_limit_of_a_visit_grows_with_what_is_measured(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limits: list[float] = []

    def late(*_: object, seconds: float) -> None:
        limits.append(seconds)
        raise subprocess.TimeoutExpired("python", seconds)

    monkeypatch.setattr("foundry_edge_runtime.profile.isolated.ask", late)
    rung = bundle.manifest.rungs[0]
    for effort, batch in ((SHORT, 1), (THOROUGH, 1), (THOROUGH, 32)):
        found = visit_isolated(bundle, rung, "onnxruntime", effort, batch=batch)
        assert isinstance(found, EngineFailure)
        assert (found.batch, found.reason) == (batch, f"gave no result within {limits[-1]:g} s")
    assert limits == [124.0, 175.7, 1880.7]


def test_bench_refuses_a_backend_that_is_not_here(bundle_folder: Path) -> None:
    with pytest.raises(BackendError, match="NvTensorRTRTX"):
        bench(bundle_folder, backend=["onnxruntime:tensorrt-rtx"], effort=SHORT)


def test_quick_profile_measures_everything_once(bundle: Bundle) -> None:
    first = quick_profile(bundle, Budget())
    assert first.complete(bundle.manifest)
    assert quick_profile(bundle, Budget()) == first


@pytest.mark.parametrize(
    ("budget", "names"),
    [
        (Budget(tokens=1), {"s1-fp32", "s1-int8"}),
        (Budget(precision="fp16"), {"s1-fp16", "s4-fp16"}),
        (Budget(tokens=4), {"s4-fp32", "s4-int8"}),
    ],
)
def test_quick_profile_measures_what_may_be_used(bundle: Bundle, budget: Budget, names: set[str]) -> None:
    """Half precision is passed over on the CPU where the same rung exists without it."""
    rungs = bundle.manifest.rungs
    half = [one.model_copy(update={"precision": "fp16"}) for one in rungs if one.precision == "fp32"]
    wider = replace(bundle, manifest=bundle.manifest.model_copy(update={"rungs": (*half, *rungs)}))
    found = quick_profile(wider, budget, seconds=600)
    assert {f"s{one.tokens}-{one.precision}" for one in found.engines} == names
    assert unmeasured(wider.manifest, found, budget) == []


def test_quick_profile_stops_in_time(bundle: Bundle) -> None:
    assert quick_profile(bundle, Budget(), seconds=0).engines == ()


def test_budget_is_measured_once_and_said_in_one_line(bundle: Bundle) -> None:
    said: list[str] = []
    choice, profile = select(bundle, Budget(max_latency_ms=1000), notify=said.append)
    assert len(said) == 1
    assert "measured 1 of 4 engines here" in said[0]
    assert choice.measured == profile.engines[0]
    select(bundle, Budget(max_latency_ms=1000), notify=said.append)
    assert len(said) == 1


def test_no_budget_measures_and_says_nothing(bundle: Bundle, cache: Path) -> None:
    select(bundle, Budget(min_accuracy=82), notify=pytest.fail)
    assert not cache.exists()


def test_memory_budget_is_measured_in_a_process_of_its_own(bundle: Bundle) -> None:
    choice, _ = select(bundle, Budget(max_memory_mb=1000, tokens=1, precision="int8"))
    assert choice.met
    assert choice.measured is not None
    assert choice.measured.memory_mb is not None


def test_engine_that_breaks_while_measured_is_left_out(bundle: Bundle) -> None:
    broken = {"s4-fp32.onnx": "broken", "s4-int8.onnx": "broken"}
    choice, profile = select(bundle, Budget(max_latency_ms=1000), backend=FakeBackend(broken=broken))
    assert choice.rung.name == "s1-fp32"
    assert {failure.tokens for failure in profile.failures} == {4}


def test_unwritable_cache_is_said_and_not_fatal(bundle: Bundle, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    said: list[str] = []
    choice, _ = select(bundle, Budget(max_latency_ms=1000), notify=said.append)
    assert choice.met
    assert "the profile is not kept" in said[-1]
    with pytest.raises(StorageError):
        save_profile(empty_profile(bundle.manifest))


def test_effort_of_a_first_look_is_small() -> None:
    assert QUICK.most * QUICK.seconds < 3
    assert QUICK.warm_runs + QUICK.runs < 5


def test_usable_cpus_follow_affinity_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr(device, "_CGROUP_LIMIT", limit)
    assert device.usable_cpus() == 8
    for text, cpus in {"max 100000": 8, "150000 100000": 2, "10000 100000": 1, "9900000 100000": 8}.items():
        limit.write_text(text)
        assert device.usable_cpus() == cpus


def test_memory_is_what_linux_says_or_half_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "meminfo"
    monkeypatch.setattr(device, "_MEMORY", table)
    assert 1 << 25 < device.available_memory() < 1 << 50
    table.write_text("MemTotal: 4096 kB\nMemAvailable:    2048 kB\n")
    assert device.available_memory() == 2 << 20


def test_gpus_from_what_the_driver_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_NVIDIA", tmp_path / "none")
    monkeypatch.setattr(device, "_BOARD", tmp_path / "model")
    assert device.gpus() == []
    (tmp_path / "model").write_text("NVIDIA Jetson Orin Nano\0")
    assert device.gpus() == ["NVIDIA Jetson Orin Nano"]
    (tmp_path / "gpus" / "0").mkdir(parents=True)
    (tmp_path / "gpus" / "0" / "information").write_text("Model: \t\t NVIDIA L4\nIRQ: 1\n")
    monkeypatch.setattr(device, "_NVIDIA", tmp_path / "gpus")
    assert device.gpus() == ["NVIDIA L4"]


def test_batches_are_measured_beside_single_clouds(bundle_folder: Path) -> None:
    found = bench(bundle_folder, batch=(1, 4), effort=SHORT)
    rung = found.bundle.manifest.rungs[0]
    assert [one.batch for one in found.profile.all_of(rung)] == [1, 4]
    assert [one.batch for one in found.profile.measured(rung)] == [1]
    one = found.profile.all_of(rung)[1]
    assert one.clouds_per_second == pytest.approx(4000 / one.total_ms.p50)


@pytest.mark.parametrize("batch", [(), (0,), (1, 33)])
def test_batch_size_out_of_range(bundle_folder: Path, batch: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="--batch must be sizes from 1 to 32"):
        bench(bundle_folder, batch=batch)


def test_failure_at_a_large_batch_does_not_hide_the_engine(bundle: Bundle) -> None:
    rung = bundle.manifest.rungs[0]
    failure = EngineFailure(tokens=1, precision="fp32", backend="onnxruntime", batch=32, reason="no memory")
    assert not empty_profile(bundle.manifest).add(failure).failed(rung, "onnxruntime")


def test_gpu_is_looked_for_without_starting_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_NVIDIA", tmp_path / "none")
    monkeypatch.setattr(device, "_BOARD", tmp_path / "none")
    monkeypatch.setattr(device, "_NODES", (tmp_path / "nvidia0",))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not device.gpu_present()
    (tmp_path / "nvidia0").touch()
    assert device.gpu_present()
    for hiding in ("", "-1", "-1,0", " -1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hiding)
        assert not device.gpu_present(), hiding
    for showing in ("0", "1,-1", "GPU-8932f937", "MIG-GPU-8932f937/1/2"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", showing)
        assert device.gpu_present(), showing
