"""The ledger: what is in it is done, what is not is not, whenever the run was killed."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundry_edge_runtime.errors import InputError, MissingExtraError, StorageError
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.run import Running, run
from foundry_edge_runtime.streams.items import Item, Outcome
from foundry_edge_runtime.streams.ledger import Ledger, read_ledger
from tests.runtime.test_streams import bag

RNG = np.random.default_rng(8)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in "abc":
        np.save(folder / f"{name}.npy", RNG.normal(size=(30, 3)))
    (folder / "d.pcd").write_bytes(b"VERSION .7\n")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def names(running: Running) -> list[str]:
    """What was computed or failed in this run."""
    return [Path(one.input if isinstance(one, Failure) else one.cloud.source).name for one in running]


def recorded(path: Path) -> list[str]:
    return [Path(one["input"]).name for one in read_ledger(path)]


def test_second_run_has_nothing_to_do(scans: Path, bundle_folder: Path, path: Path) -> None:
    first = run(scans, bundle=bundle_folder, ledger=path)
    assert names(first) == recorded(path) == ["a.npy", "b.npy", "c.npy", "d.pcd"]
    again = run(scans, bundle=bundle_folder, ledger=path)
    assert names(again) == []
    assert (again.counts.received, again.counts.skipped) == (0, 4)
    assert len(recorded(path)) == 4


def test_record_is_what_run_prints(scans: Path, bundle_folder: Path, path: Path) -> None:
    printed = [one.as_json() for one in run(scans, bundle=bundle_folder, ledger=path, save=scans / "out")]
    assert list(read_ledger(path)) == json.loads(json.dumps(printed))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10_000))
def test_cut_anywhere_each_scan_is_there_once(scans: Path, bundle_folder: Path, path: Path, cut: int) -> None:
    """A killed run leaves some beginning of the file; the next one makes it whole."""
    path.unlink(missing_ok=True)
    list(run(scans, bundle=bundle_folder, ledger=path))
    content = path.read_bytes()
    path.write_bytes(content[: cut % (len(content) + 1)])
    list(run(scans, bundle=bundle_folder, ledger=path))
    assert sorted(recorded(path)) == ["a.npy", "b.npy", "c.npy", "d.pcd"]


def test_bag_goes_on_in_the_middle(tmp_path: Path, bundle_folder: Path, path: Path) -> None:
    (tmp_path / "bag.mcap").write_bytes(bag(["/points"] * 5))
    with run(tmp_path / "bag.mcap", bundle=bundle_folder, ledger=path) as running:
        next(running), next(running)
    again = run(tmp_path / "bag.mcap", bundle=bundle_folder, ledger=path)
    assert len(list(again)) == 3
    assert (again.counts.received, again.counts.skipped) == (3, 2)
    assert [one["scan"] for one in read_ledger(path)] == [1, 2, 3, 4, 5]
    third = run(tmp_path / "bag.mcap", bundle=bundle_folder, ledger=path)
    assert (list(third), third.counts.skipped) == ([], 5)


def test_changed_file_is_done_again(scans: Path, bundle_folder: Path, path: Path) -> None:
    list(run(scans, bundle=bundle_folder, ledger=path))
    np.save(scans / "b.npy", RNG.normal(size=(31, 3)))
    assert names(run(scans, bundle=bundle_folder, ledger=path)) == ["b.npy"]


def test_same_scan_twice_in_one_run_is_done_once(
    scans: Path, bundle_folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.runtime.test_run import _type

    _type(monkeypatch, f"{scans}/a.npy\n{scans}/a.npy\n".encode())
    running = run("-", bundle=bundle_folder, ledger=path)
    assert names(running) == ["a.npy"]
    assert running.counts.skipped == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"VERSION .7\n", "is not a ledger"),
        (b'{"ledger": 1, "bundle": "other"}\n', "bundle: expected 'tiny-1', found 'other'"),
        (b'{"ledger": 2, "bundle": "tiny-1"}\n', "ledger: expected 1, found 2"),
        (b'{"ledger": 1, "bundle": "tiny-1"}\nnonsense\n', "line 2 is not a JSON object"),
        (b'{"ledger": 1, "bundle": "tiny-1"}\n[1]\n', "line 2 is not a JSON object"),
    ],
)
def test_file_that_is_no_ledger_is_left_alone(
    scans: Path, bundle_folder: Path, path: Path, content: bytes, message: str
) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        run(scans, bundle=bundle_folder, ledger=path)
    assert path.read_bytes() == content


def test_two_runs_do_not_share_a_ledger(path: Path) -> None:
    first = Ledger(path, "x")
    with pytest.raises(InputError, match="another run uses this ledger"):
        Ledger(path, "x")
    first.close()
    Ledger(path, "x").close()


def test_ledger_needs_files(bundle_folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.runtime.test_run import _type

    _type(monkeypatch, b"1 2 3\n4 5 6\n")
    with pytest.raises(InputError, match="--ledger needs files"):
        run("-", bundle=bundle_folder, ledger=path)


def test_full_disk_is_exit_3_and_the_scan_is_not_done(
    scans: Path, bundle_folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def fileno(self) -> int:
            return real.fileno()

    running = run(scans, bundle=bundle_folder, ledger=path)
    next(running)
    ledger = running._ledger
    assert ledger is not None
    real = ledger._file
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "_file", Full())
        with pytest.raises(StorageError, match="No space left on device"):
            next(running)
    real.close()
    assert (running.counts.done, running.counts.failed) == (1, 1)
    assert names(run(scans, bundle=bundle_folder, ledger=path)) == ["b.npy", "c.npy", "d.pcd"]


def test_ledger_that_is_a_device_or_in_no_folder(bundle_folder: Path, scans: Path) -> None:
    for path in ("/dev/null", scans):
        with pytest.raises(InputError, match="is no regular file"):
            run(scans, bundle=bundle_folder, ledger=path)
    with pytest.raises(StorageError, match="cannot be written"):
        run(scans, bundle=bundle_folder, ledger=scans / "a.npy" / "ledger")


def test_what_the_machine_lacks_is_tried_again(path: Path) -> None:
    error = MissingExtraError("laspy", "las", "reading LAS")
    ledger = Ledger(path, "x")
    ledger.add(Outcome(Item("a.las", key="a"), Failure("a.las", error)))
    ledger.close()
    assert list(read_ledger(path)) == []
