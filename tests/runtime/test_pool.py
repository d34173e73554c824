"""Worker processes: same results, in order; what kills or hangs one is one failure."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from foundry_edge_runtime import Budget, batches, load_bundle
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.batches import best_batch, engine_seconds, parse_batch
from foundry_edge_runtime.errors import BackendError, GateError, InputError, MissingExtraError, ScanError
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.profile import empty_profile
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run
from foundry_edge_runtime.streams.items import Item, Stop
from foundry_edge_runtime.streams.pool import Pool
from foundry_edge_runtime.streams.running import Running
from foundry_edge_runtime.streams.worker import Setup
from tests.runtime.test_streams import bag

RNG = np.random.default_rng(21)
FAULTS = """
import os, signal, sys, time
if "foundry_edge_runtime.streams.worker" in sys.orig_argv:
    from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
    from foundry_edge_runtime.readers import reading
    from foundry_edge_runtime.streams import here
    read_each, scans_of, load = here.read_each, reading.scans_of, OnnxRuntimeBackend.load
    deadly = [int(number) for number in os.environ.get("HURT_SCANS", "2").split()]

    def hurt(path, options, skip, begins):
        name = os.path.basename(path)
        for number, cloud in read_each(path, options, skip, begins):
            if "crash" in name and number in (None, *deadly):
                os.kill(os.getpid(), signal.SIGSEGV)
            if "hang" in name:
                time.sleep(600)
            if "bug" in name:
                raise ZeroDivisionError("a bug")
            yield number, cloud

    def hurt_parser(name):
        def scans(source, options):
            for number, raw in enumerate(scans_of(name)(source, options), 1):
                if "torn" in source.name and number in deadly:
                    os.kill(os.getpid(), signal.SIGSEGV)
                yield raw
        return scans

    def hurt_load(self, graph, spec):
        if graph.name in os.environ.get("HURT_LOAD", ""):
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, graph, spec)

    here.read_each, reading.scans_of, OnnxRuntimeBackend.load = hurt, hurt_parser, hurt_load
"""


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(9):
        np.save(folder / f"{number}.npy", RNG.normal(size=(200, 3)))
    (folder / "3.npy").rename(folder / "3.pcd")  # it can be read all the same, and says so
    (folder / "5.ply").write_bytes(b"ply\n")
    return folder


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes in which scans named after a fault suffer it."""
    (tmp_path / "faults").mkdir()
    (tmp_path / "faults" / "sitecustomize.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "faults"))


def kinds(running: Running) -> list[str]:
    """What became of each scan, by its name: "3" or "5!" for a failure."""
    found = []
    for one in running:
        name = one.input if isinstance(one, Failure) else one.cloud.source
        number = "" if one.scan is None else f":{one.scan}"
        found.append(Path(name).stem + number + "!" * isinstance(one, Failure))
    counts = running.counts
    assert counts.received == counts.done + counts.failed
    assert counts.received == len(found)
    return found


@pytest.mark.parametrize(
    "options",
    [{"isolate": True}, {"batch": 4}, {"batch": "auto"}, {"workers": 2, "batch": 2}],
)
def test_results_are_those_of_the_single_process(
    scans: Path, bundle_folder: Path, options: dict[str, object]
) -> None:
    plain = list(run(scans, bundle=bundle_folder))
    other = list(run(scans, bundle=bundle_folder, **options))  # type: ignore[arg-type]
    assert len(plain) == len(other) == 10
    for one, same in zip(plain, other, strict=True):
        assert type(one) is type(same)
        if isinstance(one, Failure):
            assert one.as_json() == same.as_json()
            continue
        assert isinstance(same, Result)
        assert (one.cloud.source, one.warnings) == (same.cloud.source, same.warnings)
        np.testing.assert_array_equal(one.cloud.xyz, same.cloud.xyz)
        np.testing.assert_allclose(one.pooled, same.pooled, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one.tokens, same.tokens, rtol=1e-5, atol=1e-6)
        assert one.top is not None
        assert same.top is not None
        assert [cls.label for cls in one.top] == [cls.label for cls in same.top]
        assert one.as_json()["bundle"] == same.as_json()["bundle"]
        assert one.as_json()["engine"] == same.as_json()["engine"]


@pytest.mark.usefixtures("faults")
@pytest.mark.parametrize("options", [{"workers": 2}, {"isolate": True, "batch": 4}])
def test_scan_that_takes_the_process_down_is_one_failure(
    scans: Path, bundle_folder: Path, options: dict[str, object], tmp_path: Path
) -> None:
    (scans / "4.npy").rename(scans / "4crash.npy")
    (scans / "6.npy").rename(scans / "6bug.npy")
    (scans / "5.ply").unlink()
    said: list[str] = []
    ledger = tmp_path / "ledger"
    running = run(scans, bundle=bundle_folder, ledger=ledger, notify=said.append, **options)  # type: ignore[arg-type]
    found = kinds(running)
    assert found == ["0", "1", "2", "3", "4crash!", "5", "6bug!", "7", "8"]
    assert any("it died of SIGSEGV" in line for line in said)
    assert any("ended with exit code 1 (ZeroDivisionError: a bug)" in line for line in said)
    assert kinds(run(scans, bundle=bundle_folder, ledger=ledger)) == []


@pytest.mark.usefixtures("faults")
@pytest.mark.parametrize(
    ("deadly", "options"),
    [
        ("2 3", {"isolate": True}),
        ("1", {"isolate": True}),
        ("3", {"isolate": True, "batch": 4}),
        ("1 5", {"workers": 2, "batch": 2}),
    ],
)
def test_each_deadly_message_of_a_bag_is_one_failure(
    tmp_path: Path,
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    deadly: str,
    options: dict[str, object],
) -> None:
    monkeypatch.setenv("HURT_SCANS", deadly)
    path, ledger = tmp_path / "crash.mcap", tmp_path / "ledger"
    path.write_bytes(bag(["/points"] * 5))
    running = run(path, bundle=bundle_folder, ledger=ledger, **options)  # type: ignore[arg-type]
    assert kinds(running) == [f"crash:{n}" + "!" * (str(n) in deadly) for n in range(1, 6)]
    assert kinds(run(path, bundle=bundle_folder, ledger=ledger)) == []


@pytest.mark.usefixtures("faults")
def test_rest_of_the_last_input_goes_on_while_another_worker_is_free(
    tmp_path: Path, bundle_folder: Path
) -> None:
    path = tmp_path / "crash.mcap"
    path.write_bytes(bag(["/points"] * 4))
    pool = Pool(load_bundle(bundle_folder), setup(bundle_folder), 2, print)
    while not all(worker.ready for worker in pool._workers):
        pool._listen()
    found = [one for one in pool.outcomes(iter([Item(os.fspath(path))]), Stop()) if one is not None]
    pool.close()
    assert [one.scan for one in found] == [1, 2, 3, 4, None]
    assert [type(one.result) for one in found] == [Result, Failure, Result, Result, type(None)]


@pytest.mark.usefixtures("faults")
def test_bag_that_cannot_be_read_past_a_message_is_given_up(tmp_path: Path, bundle_folder: Path) -> None:
    path = tmp_path / "torn.mcap"
    path.write_bytes(bag(["/points"] * 5))
    assert kinds(run(path, bundle=bundle_folder, isolate=True)) == ["torn:1", "torn:2!", "torn:3!"]


@pytest.mark.usefixtures("faults")
def test_scans_given_together_with_a_deadly_one_at_the_end(tmp_path: Path, bundle_folder: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "a.mcap").write_bytes(bag(["/points"] * 3))
    np.save(folder / "bcrash.npy", RNG.normal(size=(20, 3)))
    running = run(folder, bundle=bundle_folder, isolate=True, batch=2)
    assert kinds(running) == ["a:1", "a:2", "a:3", "bcrash!"]


@pytest.mark.usefixtures("faults")
def test_worker_that_hangs_is_killed(scans: Path, bundle_folder: Path) -> None:
    (scans / "1.npy").rename(scans / "1hang.npy")
    items = [Item(os.fspath(scans / name)) for name in ("0.npy", "1hang.npy", "2.npy")]
    said: list[str] = []
    pool = Pool(load_bundle(bundle_folder), setup(bundle_folder), 1, said.append, seconds=1.0)
    found = [one for one in pool.outcomes(iter(items), Stop()) if one is not None and one.result is not None]
    pool.close()
    assert [type(one.result) for one in found] == [Result, Failure, Result]
    assert said == ["a worker process was started again: it hung and was killed"]


@pytest.mark.usefixtures("faults")
def test_engine_that_takes_its_process_down_at_load_gives_way(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HURT_LOAD", "s4-fp32.onnx")
    said: list[str] = []
    running = run(scans, bundle=bundle_folder, isolate=True, notify=said.append)
    results = [one for one in running if isinstance(one, Result)]
    assert {one.choice.rung.name for one in results} == {"s4-int8"}
    assert said[0].startswith(
        "engine s4-fp32 failed, taking the next: onnxruntime: s4-fp32 takes its process"
    )
    with pytest.raises(BackendError, match="it died of SIGKILL"):
        run(scans, bundle=bundle_folder, isolate=True, strict=True)
    monkeypatch.setenv("HURT_LOAD", "s4-fp32.onnx s4-int8.onnx s1-fp32.onnx s1-int8.onnx")
    with pytest.raises(BackendError, match="no engine of bundle tiny-1 that may be used loads here"):
        run(scans, bundle=bundle_folder, isolate=True)


@pytest.mark.usefixtures("faults")
def test_several_deaths_in_a_row_are_the_engine_s(tmp_path: Path, bundle_folder: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(4):
        np.save(folder / f"{number}crash.npy", RNG.normal(size=(20, 3)))
    np.save(folder / "5.npy", RNG.normal(size=(20, 3)))
    said: list[str] = []
    running = run(folder, bundle=bundle_folder, isolate=True, notify=said.append)
    assert kinds(running) == ["0crash!", "1crash!", "2crash!", "3crash!", "5"]
    assert running.rung == "s4-int8"
    assert sum("taking the next" in line for line in said) == 1


def test_worker_that_is_killed_from_outside_is_there_again(scans: Path, bundle_folder: Path) -> None:
    """The target is 2 s; the limit is loose, since the machine may be busy."""
    said: list[str] = []
    pool = Pool(load_bundle(bundle_folder), setup(bundle_folder), 1, said.append)
    items = [Item(os.fspath(scans / f"{name}.npy")) for name in (0, 1, 2)]
    outcomes = pool.outcomes(iter(items), Stop())
    next(outcomes)
    pool._workers[0]._process.kill()
    started = time.monotonic()
    rest = [one for one in outcomes if one is not None and one.result is not None]
    assert time.monotonic() - started < 10
    assert len(rest) >= 1
    pool.close()


def test_stop_ends_workers_after_their_scans(scans: Path, bundle_folder: Path) -> None:
    running = run(scans, bundle=bundle_folder, workers=2)
    next(running)
    running.stop()
    rest = list(running)
    assert len(rest) < 9
    assert running.counts.received == running.counts.done + running.counts.failed == 1 + len(rest)


def test_stop_in_the_middle_of_a_bag(tmp_path: Path, bundle_folder: Path) -> None:
    path, ledger = tmp_path / "bag.mcap", tmp_path / "ledger"
    path.write_bytes(bag(["/points"] * 300))
    running = run(path, bundle=bundle_folder, isolate=True, ledger=ledger)
    next(running)
    running.stop()
    first = 1 + len(list(running))
    assert first < 300
    assert first + len(list(run(path, bundle=bundle_folder, ledger=ledger))) == 300


def test_modules_in_the_working_folder_are_not_imported(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m` looks there first; a folder of scans from elsewhere may hold anything."""
    for name in ("socket", "pydantic", "numpy", "foundry_edge_runtime"):
        (scans / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(scans)
    assert kinds(run("0.npy", bundle=bundle_folder, isolate=True)) == ["0"]


def test_errors_come_through(scans: Path, bundle_folder: Path) -> None:
    with pytest.raises(ScanError, match=r"5\.ply"):
        list(run(scans / "5.ply", bundle=bundle_folder, isolate=True))
    strict = replace(setup(bundle_folder), budget=Budget(max_latency_ms=1), strict=True)
    with pytest.raises(GateError, match="none keeps within"):
        Pool(load_bundle(bundle_folder), strict, 1, print)
    with pytest.raises(InputError, match="--workers must be at least 1"):
        run(scans, bundle=bundle_folder, workers=0)
    with pytest.raises(InputError, match="leave out --batch"):
        run(scans, bundle=bundle_folder, adaptive=True, max_latency_ms=9, batch=2)
    with pytest.raises(InputError, match="--batch must be auto or 1 to 32, found '33'"):
        run(scans, bundle=bundle_folder, batch=33)


def test_errors_travel_between_processes() -> None:
    import pickle

    for error in (
        ScanError("p", where="w", remedy="r"),
        MissingExtraError("laspy", "las", "reading LAS"),
        GateError("p"),
    ):
        same = pickle.loads(pickle.dumps(error))
        assert type(same) is type(error)
        assert (str(same), vars(same)) == (str(error), vars(error))


def test_adaptive_worker(scans: Path, bundle_folder: Path) -> None:
    running = run(scans, bundle=bundle_folder, isolate=True, adaptive=True, max_latency_ms=1000)
    assert len(kinds(running)) == 10


def test_time_of_a_batch_is_that_of_one_run(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT warms up by two runs, which are no measure of one."""
    bundle, clock = load_bundle(bundle_folder), [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    fake = FakeBackend(latency_ms={"s1-fp32.onnx": 5.0}, sleep=sleep)
    spec = bundle.manifest.preprocessing
    engine = fake.load(bundle.graph(bundle.manifest.rungs[0]), spec)
    warm = engine.warm
    monkeypatch.setattr(engine, "warm", lambda size: (warm(size), warm(size)))
    monkeypatch.setattr(batches, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    assert engine_seconds(engine, spec, 4) == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({1: 10, 2: 20, 4: 40}, 1),
        ({1: 10, 2: 12, 4: 20, 8: 40}, 4),
        ({1: 10, 2: 11, 4: 13, 8: 16, 16: 20, 32: 30}, 32),
    ],
)
def test_best_batch(times: dict[int, float], expected: int) -> None:
    assert best_batch(lambda size: times[size]) == expected


def test_batch_option() -> None:
    assert [parse_batch(one) for one in ("auto", "1", 32)] == [None, 1, 32]
    for wrong in ("0", "33", "two", "-1", "1.5", ""):
        with pytest.raises(InputError, match="--batch must be auto or 1 to 32"):
            parse_batch(wrong)


def setup(folder: Path) -> Setup:
    bundle = load_bundle(folder)
    profile = empty_profile(bundle.manifest)
    return Setup(Path.cwd(), folder, "path", Budget(), False, False, profile, Options())
