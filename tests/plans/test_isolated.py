from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from foundry_edge_export.tensorrt import isolated, workshop
from foundry_edge_export.tensorrt.builder import build
from foundry_edge_export.tensorrt.failures import CrashError
from foundry_edge_export.tensorrt.isolated import ask
from foundry_edge_export.tensorrt.task import BuildTask, Compiled
from foundry_edge_runtime.errors import StorageError
from tests.plans.conftest import command

CRASH = "import os, sys, signal\nsys.stderr.write('free(): invalid pointer\\n')\nsys.stderr.flush()\n"


def use(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Run this code in the place of the worker."""
    (folder / "stand_in_worker.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(isolated, "_WORKER", "stand_in_worker")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CRASH + "os.kill(os.getpid(), signal.SIGSEGV)", r"died of SIGSEGV \(free\(\): invalid pointer\)"),
        (CRASH + "os.abort()", "died of SIGABRT"),
        ("import sys; sys.exit('cannot allocate memory')", r"exit code 1 \(cannot allocate memory\)"),
    ],
)
def test_a_crash_of_the_compiler_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, words: str
) -> None:
    use(monkeypatch, tmp_path, code)
    with pytest.raises(CrashError, match=words) as caught:
        ask("build", {"rung": "s4-int8"}, timeout=60)
    assert "\n" not in str(caught.value)


def test_a_compiler_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    code = (
        f"import os, pathlib, time\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    )
    use(monkeypatch, tmp_path, code)
    with pytest.raises(CrashError, match=r"s4-int8: the compiler was stopped after 1\.5 s; raise --timeout"):
        ask("build", {"rung": "s4-int8"}, timeout=1.5)
    assert not Path(f"/proc/{mark.read_text()}").exists()


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no room for a plan"):
        ask("describe", {"backend": "tensorrt"}, timeout=60, folder=tmp_path / "none")


@pytest.mark.usefixtures("rtx")
def test_a_rung_that_crashes_is_replaced_but_not_remembered(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashing(task: BuildTask, timing: bytes, *, timeout: float, folder: Path) -> Compiled:
        if task.rung == "s1-int8":
            raise CrashError("the compiler's process died of SIGSEGV")
        return isolated.compile_isolated(task, timing, timeout=timeout, folder=folder)

    with monkeypatch.context() as patch:
        patch.setattr(workshop, "compile_isolated", crashing)
        report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("int8",), ahead=True)
    assert [(one.rung.name, one.state) for one in report.rungs] == [
        ("s1-fp32", "built"),
        ("s1-int8", "failed"),
    ]
    assert report.notes[0].endswith("died of SIGSEGV; s1-fp32 takes its place")
    assert report.complete
    assert not list(cache.glob("*.refused.json"))
    again = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("int8",), ahead=True)
    assert [one.state for one in again.rungs] == ["built"]


def children(parent: int) -> list[int]:
    """Processes whose parent this is."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = status.read_text().partition(" ")
        except OSError:
            continue
        if int(rest.rpartition(")")[2].split()[1]) == parent:
            found.append(int(pid))
    return found


def wait_for(condition: object, seconds: float = 30.0) -> None:
    """Until a function is true."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def _hear_interrupts() -> None:
    """A job that a shell put in the background is born deaf to SIGINT, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_builder_leaves_nothing_behind(
    bundle: Path, cache: Path, tmp_path: Path, number: signal.Signals
) -> None:
    options = ("--backend", "tensorrt-rtx", "--ahead", "--tokens", "1", "--precision", "fp32")
    builder = subprocess.Popen(
        command("build", bundle, *options),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - this process has no threads that matter
    )
    assert builder.stderr is not None
    assert "building s1-fp32" in builder.stderr.readline()
    wait_for(lambda: children(builder.pid))
    compilers = children(builder.pid)
    builder.send_signal(number)
    rest = builder.communicate(timeout=60)[1]
    assert "Traceback" not in rest
    assert builder.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in compilers), 10)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("fp32",), ahead=True)
    assert [one.state for one in report.rungs] == ["built"]
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".plan"]


@pytest.mark.usefixtures("rtx")
def test_concurrent_builders_build_once(bundle: Path, cache: Path, tmp_path: Path) -> None:
    options = ("--backend", "tensorrt-rtx", "--ahead", "--tokens", "1", "--precision", "fp32", "--json")
    builders = [
        subprocess.Popen(
            command("build", bundle, *options),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        for _ in range(3)
    ]
    outputs = [builder.communicate(timeout=240) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0, 0], outputs
    states = sorted(
        state for out, _ in outputs for state in ("built", "kept") if f'"state": "{state}"' in out
    )
    assert states == ["built", "kept", "kept"]
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".plan"]
