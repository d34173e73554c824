"""Whatever happens to the writer, the bundle is the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from foundry_edge_export import ExportReport, commit
from foundry_edge_export.bundle_files import assemble, read_drafts
from foundry_edge_export.draft import Draft
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.bundle import Manifest
from foundry_edge_runtime.errors import InputError, StorageError
from tests.export.conftest import BUDGETS, TINY

WRITER = """
import sys
from pathlib import Path
from foundry_edge.models.config import StudentConfig
from foundry_edge_export.bundle_files import assemble, read_drafts
from foundry_edge_export.commit import commit
from foundry_edge_runtime import load_bundle

source, out = map(Path, sys.argv[1:])
drafts = read_drafts(load_bundle(source))
config = StudentConfig(teacher=%r, tokens=(1, 2, 4))
choices = [assemble(part, config, "0" * 64) for part in (drafts, drafts[:2], drafts[2:])]
print("ready", flush=True)
while True:
    for manifest, files in choices:
        commit(out, manifest, files)
"""
FULL = OSError(28, "No space left on device")
STEPS: tuple[tuple[object, str, Exception], ...] = (
    (os, "fsync", FULL),
    (os, "open", FULL),
    (tempfile, "mkstemp", FULL),
    (Path, "write_bytes", FULL),
    (Path, "write_bytes", MemoryError()),
    (Path, "read_bytes", MemoryError()),
    (Path, "write_text", FULL),
    (Path, "replace", FULL),
    (Path, "rename", FULL),
)


@pytest.fixture(scope="module")
def drafts(exported: ExportReport) -> list[Draft]:
    return read_drafts(load_bundle(exported.bundle))


def _assembled(drafts: list[Draft]) -> tuple[Manifest, dict[str, bytes]]:
    from foundry_edge.models.config import StudentConfig

    return assemble(drafts, StudentConfig(teacher=TINY, tokens=BUDGETS), "0" * 64)


def test_killed_writers_leave_a_whole_bundle(exported: ExportReport, tmp_path: Path) -> None:
    script, out = _writer(tmp_path), tmp_path / "bundle"
    seen = set()
    for attempt in range(12):
        writer = subprocess.Popen(
            [sys.executable, str(script), str(exported.bundle), str(out)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        while not (out / "manifest.json").exists():
            time.sleep(0.001)
        time.sleep(0.003 * attempt)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        bundle = load_bundle(out)
        bundle.verify()
        seen.add(len(bundle.manifest.rungs))
    assert seen <= {2, 10, 12}


def test_without_a_lock_concurrent_writers_leave_a_whole_bundle(
    exported: ExportReport, tmp_path: Path
) -> None:
    script, out = _writer(tmp_path), tmp_path / "bundle"
    command = [sys.executable, str(script), str(exported.bundle), str(out)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    end = time.monotonic() + 60
    while not (out / "manifest.json").exists() and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(2)
    for writer in writers:
        failed = writer.poll() is not None
        writer.kill()
        assert writer.communicate()[1] == b""
        assert not failed
    load_bundle(out).verify()


def _writer(folder: Path) -> Path:
    """A program that commits three bundles in turn until it is killed."""
    script = folder / "writer.py"
    tiny = f"TeacherConfig.model_validate_json({TINY.model_dump_json()!r})"
    script.write_text("from foundry_edge.models.config import TeacherConfig\n" + WRITER.replace("%r", tiny))
    return script


@pytest.mark.parametrize(("owner", "name", "error"), STEPS)
def test_every_failing_step_leaves_the_old_bundle(
    drafts: list[Draft],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    name: str,
    error: Exception,
) -> None:
    """The Nth open, write, fsync or rename fails, or memory runs out there, for every N."""
    old, files = _assembled(drafts[:1])
    new, new_files = _assembled(drafts[:3])
    for failing in range(1, 60):
        out = tmp_path / str(failing)
        commit.commit(out, old, files)
        with monkeypatch.context() as patch:
            calls = _fail_at(patch, owner, name, failing, error)
            with contextlib.suppress(StorageError, MemoryError):
                commit.commit(out, new, new_files)
        bundle = load_bundle(out)
        bundle.verify()
        assert bundle.manifest.id in {old.id, new.id}
        assert not list(out.glob(".*.partial"))
        if calls[0] < failing:
            assert bundle.manifest.id == new.id
            return
    pytest.fail(f"{name} is called more often than that")


def _fail_at(
    patch: pytest.MonkeyPatch, owner: object, name: str, failing: int, error: Exception = FULL
) -> list[int]:
    original, calls = getattr(owner, name), [0]

    def fails(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == failing:
            raise error
        return original(*args, **kwargs)

    patch.setattr(owner, name, fails)
    return calls


def test_a_new_bundle_that_fails_leaves_nothing(
    drafts: list[Draft], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, files = _assembled(drafts)
    _fail_at(monkeypatch, Path, "write_bytes", 3)
    with pytest.raises(StorageError, match="No space left"):
        commit.commit(tmp_path / "bundle", manifest, files)
    assert not list(tmp_path.iterdir())


def test_only_stale_files_of_our_own_are_swept(drafts: list[Draft], tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    commit.commit(out, *_assembled(drafts))
    stale, beside = out / "s9-fp32-0123456789ab.onnx", tmp_path / ".bundle.abc.partial"
    fresh, foreign = out / "s9-int8-0123456789ab.onnx", out / "notes.txt"
    beside.mkdir()
    for path in (stale, fresh, foreign):
        path.write_text("x")
    long_ago = time.time() - 3600
    for path in (stale, foreign, beside):
        os.utime(path, (long_ago, long_ago))
    commit.commit(out, *_assembled(drafts))
    assert not stale.exists()
    assert not beside.exists()
    assert fresh.exists()  # perhaps another exporter is about to name it
    assert foreign.exists()


def test_a_damaged_file_is_written_anew(exported: ExportReport, drafts: list[Draft], tmp_path: Path) -> None:
    out = Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))
    manifest, files = _assembled(drafts)
    commit.commit(out, manifest, files)
    victim = out / manifest.rungs[0].weights.name
    victim.write_bytes(b"damaged")
    commit.commit(out, manifest, files)
    load_bundle(out).verify()


@pytest.mark.parametrize("make", [lambda p: p.write_text("x"), lambda p: (p.mkdir(), (p / "a").touch())])
def test_other_peoples_files_are_not_replaced(drafts: list[Draft], tmp_path: Path, make: object) -> None:
    out = tmp_path / "bundle"
    make(out)  # type: ignore[operator]
    with pytest.raises(InputError, match="pick another --out"):
        commit.commit(out, *_assembled(drafts))
