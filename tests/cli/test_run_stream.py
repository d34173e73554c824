"""`run` on streams, as a user meets it: signals, ledger, watch, logs, failures, the live line."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.backends import Outputs
from foundry_edge_runtime.backends.ort import OnnxRuntimeEngine
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.streams.ledger import read_ledger
from tests.cli.conftest import Run
from tests.runtime.test_streams import bag

RNG = np.random.default_rng(41)
PROGRAM = Path(sys.executable).with_name("foundry-edge")
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(60):
        np.save(folder / f"{number:02}.npy", RNG.normal(size=(2000, 3)))
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command and leaves it running; what still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(PROGRAM), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FOUNDRY_EDGE_CACHE": str(tmp_path / "cache")},
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def names(records: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> list[str]:
    return [Path(record["input"]).name for record in records]


@pytest.mark.parametrize(
    ("number", "code", "extra"),
    [(signal.SIGTERM, 143, ()), (signal.SIGINT, 130, ()), (signal.SIGTERM, 143, ("--workers", "2"))],
)
def test_signal_ends_after_the_scan_and_the_next_run_does_the_rest(
    start: Start,
    called: Run,
    bundle: Path,
    scans: Path,
    tmp_path: Path,
    number: int,
    code: int,
    extra: tuple[str],
) -> None:
    ledger, out = tmp_path / "ledger", tmp_path / "out"
    command = ("run", scans, "--bundle", bundle, "--json", "--ledger", ledger, "--save", out)
    process = start(*command, *extra)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    sent = time.monotonic()
    rest, err = process.communicate(timeout=20)
    assert time.monotonic() - sent < 5.0
    assert process.returncode == code
    done = names([json.loads(line) for line in (first + rest).splitlines()])
    assert err == f"foundry-edge: {len(done)} scans in: {len(done)} done, 0 failed, 0 dropped\n"
    assert done == names(read_ledger(ledger))
    assert len(list(out.rglob("*.npz"))) == len(done)
    assert not list(out.rglob(".*"))  # nothing half written
    result = called(*command)
    assert result.returncode == 0
    assert f"; {len(done)} were done before" in result.stderr
    assert sorted(names(read_ledger(ledger))) == [f"{n:02}.npy" for n in range(60)]


def test_watch_takes_what_comes_until_it_is_told_to_end(start: Start, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    process = start("run", folder, "--watch", "--bundle", bundle, "--json")
    assert process.stdout is not None
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, RNG.normal(size=(100, 3)))
        assert names([json.loads(process.stdout.readline())]) == [name]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out) == (143, "")
    assert err == "foundry-edge: 2 scans in: 2 done, 0 failed, 0 dropped\n"


def test_bag_is_a_line_for_each_message(called: Run, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "two.mcap").write_bytes(bag(["/front", "/rear", "/front"]))
    command = ("run", tmp_path / "two.mcap", "--bundle", bundle)
    result = called(*command, "--topic", "/front", "--json")
    assert [json.loads(line)["scan"] for line in result.stdout.splitlines()] == [1, 2]
    assert result.stderr == "foundry-edge: 2 scans in: 2 done, 0 failed, 0 dropped\n"
    shown = called(*command, "--topic", "/front").stdout
    assert [line.split()[-2:] for line in shown.splitlines()] == [["scan", "1"], ["scan", "2"]]
    refused = called(*command)
    assert refused.returncode == 2
    assert "pass --topic, one of: /front, /rear" in refused.stderr


def test_failed_scan_of_a_bag_is_named(called: Run, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "three.mcap"
    path.write_bytes(bag(["/lidar"] * 3, damaged=1))
    result = called("run", path, "--bundle", bundle)
    assert result.returncode == 1
    assert result.stdout.splitlines()[1].startswith(f"failed scan 2: {path}: ")


def test_picture_is_of_one_scan(called: Run, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "two.mcap").write_bytes(bag(["/front", "/front"]))
    (tmp_path / "one.mcap").write_bytes(bag(["/front"]))
    page = tmp_path / "page.html"
    assert called("run", tmp_path / "one.mcap", "--bundle", bundle, "--viz", page).returncode == 0
    result = called("run", tmp_path / "two.mcap", "--bundle", bundle, "--viz", page)
    assert result.returncode == 2
    assert f"two.mcap: --viz draws one scan, and this holds several; the first is in {page}" in result.stderr


def dying(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """From the nth run on, the first engine fails."""
    compute, count = OnnxRuntimeEngine.run, [0]
    first: list[OnnxRuntimeEngine] = []

    def run(self: OnnxRuntimeEngine, groups: FloatArray, centers: FloatArray) -> Outputs:
        first[:] = first or [self]
        count[0] += 1
        if self is first[0] and count[0] > after:
            raise BackendError("the device is gone", where="onnxruntime")
        return compute(self, groups, centers)

    monkeypatch.setattr(OnnxRuntimeEngine, "run", run)


def test_engine_that_dies_is_one_line_and_the_stream_goes_on(
    called: Run, bundle: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(monkeypatch, after=10)
    result = called("run", scans, "--bundle", bundle, "--json")
    assert result.returncode == 0
    engines = [json.loads(line)["engine"]["precision"] for line in result.stdout.splitlines()]
    assert len(engines) == 60
    assert engines[0] == "fp32"
    assert engines[-1] == "int8"
    line, summary = result.stderr.splitlines()
    assert line == "foundry-edge: engine s4-fp32 failed, taking the next: onnxruntime: the device is gone"
    assert summary == "foundry-edge: 60 scans in: 60 done, 0 failed, 0 dropped"


def test_engine_that_dies_is_exit_3_when_strict(
    called: Run, bundle: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying(monkeypatch, after=10)
    result = called("run", scans, "--bundle", bundle, "--json", "--strict")
    assert result.returncode == 3
    assert len(result.stdout.splitlines()) < 60
    assert result.stderr.splitlines()[-1] == "foundry-edge: error: onnxruntime: the device is gone"


def test_structured_logs(called: Run, bundle: Path, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scans / "zz.pcd").write_text("VERSION .7\n")
    dying(monkeypatch, after=10)
    result = called("run", scans, "--bundle", bundle, "--json", "--log-json")
    assert result.returncode == 1
    told = [json.loads(line) for line in result.stderr.splitlines()]
    logs = [log for log in told if log["event"] != "scan_warning"]
    assert [(log["level"], log["event"]) for log in logs] == [
        ("warning", "notice"),
        ("warning", "scan_failed"),
        ("info", "summary"),
    ]
    assert logs[1]["input"].endswith("zz.pcd")
    counts = {"received": 61, "done": 60, "failed": 1, "dropped": 0, "skipped": 0}
    assert {name: logs[2][name] for name in counts} == counts
    assert all(log["time"].endswith("+00:00") and log["message"] for log in logs)


def test_structured_error(called: Run, bundle: Path) -> None:
    result = called("run", "nosuch.pcd", "--bundle", bundle, "--log-json")
    (log,) = [json.loads(line) for line in result.stderr.splitlines()]
    assert (result.returncode, log["level"], log["event"], log["exit_code"]) == (2, "error", "ScanError", 2)
    assert log["message"] == "nosuch.pcd: no such file; check the path"


def test_full_disk_while_saving(
    called: Run, bundle: Path, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half written, exit 3, the counts; and the same command goes on when there is room again."""
    real, calls = os.fsync, [0]

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] > 7:
            raise OSError(28, "No space left on device")
        real(handle)

    out, ledger = scans.parent / "out", scans.parent / "ledger"
    command = ("run", scans, "--bundle", bundle, "--save", out, "--ledger", ledger, "--json")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        result = called(*command)
    assert result.returncode == 3
    assert "No space left on device" in result.stderr
    assert "1 failed" in result.stderr
    assert not list(out.rglob(".*"))
    assert called(*command).returncode == 0
    assert len(list(out.rglob("*.npz"))) == len(list(read_ledger(ledger))) == 60


def test_without_a_writable_home(called: Run, bundle: Path, scans: Path) -> None:
    """The profile is then not kept, which is said; everything else works."""
    for name in range(1, 60):
        (scans / f"{name:02}.npy").unlink()
    result = called(
        "run",
        scans,
        "--bundle",
        bundle,
        "--max-latency-ms",
        "1000",
        "--json",
        FOUNDRY_EDGE_CACHE="/dev/null/cache",
    )
    assert result.returncode == 0
    assert "the profile is not kept: /dev/null/cache" in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_adaptive_needs_a_latency(called: Run, bundle: Path, scans: Path) -> None:
    result = called("run", scans, "--bundle", bundle, "--adaptive")
    assert result.returncode == 2
    assert "--adaptive needs a latency to hold; add --max-latency-ms" in result.stderr


def test_adaptive_run(called: Run, bundle: Path, scans: Path) -> None:
    result = called("run", scans, "--bundle", bundle, "--adaptive", "--max-latency-ms", "1000", "--json")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 60)


def test_live_line_on_a_terminal(bundle: Path, scans: Path, tmp_path: Path) -> None:
    parent, child = pty.openpty()
    environment = {"FOUNDRY_EDGE_CACHE": str(tmp_path / "cache"), "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        [str(PROGRAM), "run", str(scans), "--bundle", str(bundle)],
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=child,
        env={**os.environ, **environment},
    )
    os.close(child)
    seen = b"".join(_until_closed(parent)).decode()
    assert process.wait(timeout=10) == 0
    for part in ("scans/s", "p95", "s4-fp32", "done"):
        assert part in seen
    assert seen.count(".npy") == 60
    assert "60 scans in: 60 done" in seen
    assert "Traceback" not in seen


def _until_closed(handle: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(handle, 1 << 16)
        except OSError:  # the other end is closed
            os.close(handle)
            return
        yield chunk


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    """A folder with a sound scan, one with points to drop, and one with a single point."""
    folder = tmp_path / "doubtful"
    folder.mkdir()
    points = RNG.normal(size=(500, 3))
    np.save(folder / "a.npy", points)
    np.save(folder / "b.npy", np.vstack([points, np.full((115, 3), np.nan)]))
    np.save(folder / "c.npy", points[:1])
    return folder


def test_line_of_a_scan_ends_with_what_there_is_to_know(called: Run, bundle: Path, doubtful: Path) -> None:
    result = called("run", doubtful, "--bundle", bundle)
    assert result.returncode == 0
    first, second, third = result.stdout.splitlines()
    assert "dropped" not in first
    assert second.partition("b.npy")[2].startswith("  dropped 115 of 615 points")
    assert third.partition("c.npy")[2].startswith("  only 1 point")


def test_warnings_are_logged(called: Run, bundle: Path, doubtful: Path) -> None:
    result = called("run", doubtful, "--bundle", bundle, "--log-json")
    logs = [json.loads(line) for line in result.stderr.splitlines()]
    assert logs[-1]["event"] == "summary"
    said = [(Path(log["input"]).name, log["message"]) for log in logs if log["event"] == "scan_warning"]
    assert ("b.npy", "dropped 115 of 615 points: not finite (NaN or infinite)") in said
    assert ("c.npy", "only 1 point: too few points for a useful result") in said
    assert {log["level"] for log in logs[:-1]} == {"warning"}


def test_unmet_budget_is_said_once_in_a_stream(called: Run, bundle: Path, doubtful: Path) -> None:
    result = called("run", doubtful, "--bundle", bundle, "--max-latency-ms", "0.0001")
    told = [line for line in result.stderr.splitlines() if "the budget is not met" in line]
    assert len(told) == 1
    assert told[0].startswith("foundry-edge: the budget is not met: none keeps within 0.0001 ms; this is the")
    assert all("over budget" in line for line in result.stdout.splitlines())
    single = called("run", doubtful / "a.npy", "--bundle", bundle, "--max-latency-ms", "0.0001")
    assert "budget is not met" not in single.stderr
