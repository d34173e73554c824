from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from foundry_edge_runtime.errors import BackendError, StorageError
from foundry_edge_runtime.plans import (
    BatchProfile,
    PlanCheck,
    PlanDevice,
    PlanKey,
    PlanManifest,
    PlanRefusal,
    PlanRequest,
    PlanState,
    PlanStore,
)
from foundry_edge_runtime.plans.folder import read_own
from foundry_edge_runtime.plans.sealed import seal, unseal

GRAPH, WEIGHTS, OTHER = "a" * 64, "b" * 64, "c" * 64
ORIN = PlanDevice(gpu="Orin", compute_capability=("8.7",), driver="540.4.0", cuda="12.6")
ADA = PlanDevice(gpu="RTX 4090", compute_capability=("8.9",), driver="580.1", cuda="13.0")
AHEAD = PlanDevice(compute_capability=("8.6", "8.9"))
PLAN = random.Random(0).randbytes(4096)


def key(device: PlanDevice = ORIN, graph: str = GRAPH, version: str = "10.3.0", largest: int = 1) -> PlanKey:
    return PlanKey(
        graph_sha256=graph,
        weights_sha256=WEIGHTS,
        backend="tensorrt",
        version=version,
        device=device,
        batch=BatchProfile(max=largest),
        flags=("strongly-typed",),
    )


def manifest(plan_key: PlanKey | None = None) -> PlanManifest:
    unset = {"name": "x", "bytes": 0, "sha256": "0" * 64}
    return PlanManifest.model_validate(
        {
            "rung": "s4-int8",
            "key": plan_key or key(),
            "plan": unset,
            "created": "2026-11-23T00:00:00+00:00",
            "build_seconds": 1.5,
        }
    )


def request(device: PlanDevice = ORIN, version: str = "10.3.0", batch: int = 1) -> PlanRequest:
    return PlanRequest(GRAPH, WEIGHTS, "tensorrt", version, device, batch, "s4-int8")


@pytest.fixture
def store(tmp_path: Path) -> PlanStore:
    """Holds one plan, built on an Orin."""
    store = PlanStore(tmp_path / "cache" / "plans")
    store.save(manifest(), PLAN, b"{}")
    return store


def test_returns_the_bytes_that_were_saved(store: PlanStore) -> None:
    outcome = store.load(request())
    assert (outcome.state, outcome.plan, outcome.reason) == (PlanState.READY, PLAN, "")
    assert outcome.manifest is not None
    assert outcome.manifest.checked == "built ahead, not run"
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_nothing_kept_yet_is_missing(tmp_path: Path) -> None:
    outcome = PlanStore(tmp_path / "none").load(request())
    assert (outcome.state, outcome.plan) == (PlanState.MISSING, None)
    with pytest.raises(BackendError, match=r"s4-int8: no plan .*foundry-edge build --backend tensorrt"):
        raise outcome.error()


@pytest.mark.parametrize(
    ("wanted", "state", "words"),
    [
        (request(ADA), PlanState.OTHER_DEVICE, r"built for Orin \(8.7\), this is RTX 4090 \(8.9\)"),
        (request(version="10.13.0"), PlanState.OTHER_VERSION, "built with tensorrt 10.3.0, here is 10.13.0"),
        (request(ORIN.model_copy(update={"driver": "541.0"})), PlanState.OTHER_VERSION, "driver 540.4.0"),
        (request(ORIN.model_copy(update={"cuda": "13.0"})), PlanState.OTHER_VERSION, "CUDA 12.6"),
        (request(batch=8), PlanState.OTHER_BATCH, "batches up to 1, 8 are wanted"),
    ],
)
def test_another_device_or_version_has_its_reason(
    store: PlanStore, wanted: PlanRequest, state: PlanState, words: str
) -> None:
    outcome = store.load(wanted)
    assert (outcome.state, outcome.plan) == (state, None)
    with pytest.raises(BackendError, match=words):
        raise outcome.error()


def test_a_plan_built_ahead_runs_on_the_capabilities_it_names(tmp_path: Path) -> None:
    store = PlanStore(tmp_path / "plans")
    store.save(manifest(key(AHEAD)), PLAN)
    assert store.load(request(ADA)).plan == PLAN
    assert store.load(request(ORIN)).state is PlanState.OTHER_DEVICE
    store.save(manifest(key(ADA)), b"built here")
    assert store.load(request(ADA)).plan == b"built here"


@pytest.mark.parametrize(
    "later",
    [key(largest=8), key(version="10.13.0"), key(ORIN.model_copy(update={"driver": "541.0"}))],
)
def test_a_later_build_of_the_same_rung_takes_the_place(store: PlanStore, later: PlanKey) -> None:
    for path in store.folder.iterdir():
        os.utime(path, (0, 0))
    store.save(manifest(later), b"later")
    assert [path.read_bytes() for path in store.folder.glob("*.plan")] == [b"later"]
    wanted = request(later.device, later.version, later.batch.max)
    assert store.load(wanted).plan == b"later"


def test_a_plan_that_is_replaced_while_it_is_read_is_read_again(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def reading(folder: int, name: str, limit: int) -> bytes:
        read.append(name)
        if name.endswith(".plan") and len(read) == 2:
            for path in store.folder.iterdir():
                os.utime(path, (0, 0))
            store.save(manifest(), b"new")
        return read_own(folder, name, limit)

    monkeypatch.setattr("foundry_edge_runtime.plans.store.read_own", reading)
    assert store.load(request()).plan == b"new"


def test_writers_without_a_lock_leave_a_whole_plan(store: PlanStore) -> None:
    """Two builds of a rung differ in their bytes; the lock saves work, the names save the plan."""
    plans = [bytes([number]) * 1000 for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda plan: store.save(manifest(), plan, plan), plans))
        states = {store.load(request()).state for _ in range(5)}
    assert states == {PlanState.READY}
    assert store.load(request()).plan in plans
    assert len(store.manifests()) == 1


def test_plans_of_other_rungs_devices_and_libraries_stay(store: PlanStore) -> None:
    rtx = key().model_copy(update={"backend": "tensorrt-rtx"})
    others = [key(ADA), key(AHEAD), key(graph=OTHER), rtx]
    for other in others:
        store.save(manifest(other), b"other")
    assert len(store.manifests()) == 5
    assert store.load(request()).plan == PLAN


def test_every_flipped_bit_is_noticed(store: PlanStore) -> None:
    chance = random.Random(7)
    files = [path for path in store.folder.iterdir() if not path.name.endswith(".layers.json")]
    assert len(files) == 2
    for flip in range(100):
        path = files[flip % 2]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        outcome = store.load(request())
        assert (outcome.state, outcome.plan) == (PlanState.CORRUPT, None), flip
        assert "\n" not in str(outcome.error())
        path.write_bytes(whole)
    assert store.load(request()).plan == PLAN


@pytest.mark.parametrize("cut", [0, 1, 100, 4095])
def test_a_truncated_plan_is_refused(store: PlanStore, cut: int) -> None:
    next(store.folder.glob("*.plan")).write_bytes(PLAN[:cut])
    assert store.load(request()).state is PlanState.CORRUPT


def test_a_longer_plan_is_refused(store: PlanStore) -> None:
    next(store.folder.glob("*.plan")).write_bytes(PLAN + b"x")
    assert store.load(request()).state is PlanState.CORRUPT


@pytest.mark.parametrize("origin", [key(graph=OTHER), key(device=ADA), key(version="11.0")])
def test_a_consistent_pair_of_another_model_or_device_is_refused(store: PlanStore, origin: PlanKey) -> None:
    store.save(manifest(origin), b"of another")
    theirs, mine = origin.stem, key().stem
    shutil.copy(store.folder / f"{theirs}.manifest.json", store.folder / f"{mine}.manifest.json")
    outcome = store.load(request())
    assert (outcome.state, outcome.plan) == (PlanState.CORRUPT, None)
    assert "another model or device" in outcome.reason


def test_a_manifest_that_names_another_plan_is_refused(store: PlanStore) -> None:
    store.save(manifest(key(graph=OTHER)), b"of another model")
    theirs = next(store.folder.glob(f"{key(graph=OTHER).stem}*.plan"))
    mine = next(store.folder.glob(f"{key().stem}*.plan"))
    shutil.copy(theirs, mine)
    assert store.load(request()).state is PlanState.CORRUPT


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722, 0o702])
def test_a_folder_that_others_can_write_to_is_refused_and_emptied_by_the_next_build(
    store: PlanStore, mode: int
) -> None:
    store.folder.chmod(mode)
    outcome = store.load(request())
    assert (outcome.state, outcome.plan) == (PlanState.UNSAFE, None)
    assert f"mode {mode:o}" in outcome.reason
    assert store.manifests() == []
    assert "3 files in it were discarded" in store.secure()
    assert store.load(request()).state is PlanState.MISSING
    store.save(manifest(), PLAN)
    assert store.load(request()).plan == PLAN


def test_a_folder_below_a_world_writable_one_is_refused(store: PlanStore) -> None:
    store.folder.parent.chmod(0o777)
    assert store.load(request()).state is PlanState.UNSAFE
    with pytest.raises(StorageError, match="writable by everyone"):
        store.save(manifest(), PLAN)
    store.folder.parent.chmod(0o1777)
    assert store.load(request()).plan == PLAN


def test_a_folder_of_another_user_is_refused(store: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert store.load(request()).state is PlanState.UNSAFE
    with pytest.raises(StorageError, match=f"belongs to user {user}"):
        store.save(manifest(), PLAN)


def test_a_link_in_the_place_of_the_folder_is_refused(store: PlanStore) -> None:
    elsewhere = store.folder.rename(store.folder.with_name("elsewhere"))
    store.folder.symlink_to(elsewhere)
    outcome = store.load(request())
    assert (outcome.state, outcome.plan) == (PlanState.UNSAFE, None)
    assert "symbolic link" in outcome.reason
    with pytest.raises(StorageError, match="symbolic link"):
        store.save(manifest(), PLAN)


@pytest.mark.parametrize("which", ["*.plan", "*.manifest.json"])
@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
def test_a_link_in_the_place_of_a_file_is_refused(
    store: PlanStore, tmp_path: Path, which: str, how: str
) -> None:
    path = next(store.folder.glob(which))
    target = path.rename(tmp_path / "target")
    getattr(path, how)(target)
    outcome = store.load(request())
    assert (outcome.state, outcome.plan) == (PlanState.CORRUPT, None)


def test_a_pipe_in_the_place_of_a_plan_does_not_hang(store: PlanStore) -> None:
    path = next(store.folder.glob("*.plan"))
    path.unlink()
    os.mkfifo(path)
    assert store.load(request()).state is PlanState.CORRUPT


def test_a_file_that_others_can_write_to_is_refused(store: PlanStore) -> None:
    next(store.folder.glob("*.plan")).chmod(0o666)
    assert store.load(request()).state is PlanState.CORRUPT


def test_a_whole_plan_is_found_beside_a_damaged_one(store: PlanStore) -> None:
    wide = key(PlanDevice(compute_capability=("8.7", "8.9")))
    store.save(manifest(wide), b"ahead")
    assert store.load(request()).plan == PLAN
    next(store.folder.glob(f"{key().stem}*.plan")).write_bytes(b"damaged")
    assert store.load(request()).plan == b"ahead"


def test_a_refusal_is_remembered_for_this_version_only(store: PlanStore) -> None:
    refusal = PlanRefusal(
        rung="s4-int8", key=key(), reason="node cau/MatMul: no kernel", instead="s4-fp16", created="now"
    )
    store.refuse(refusal)
    outcome = store.load(request())
    assert outcome.state is PlanState.REFUSED
    assert "node cau/MatMul: no kernel; s4-fp16 takes its place" in outcome.reason
    assert store.load(request(version="11.0")).state is PlanState.MISSING
    store.save(manifest(), PLAN)
    assert store.load(request()).plan == PLAN


def test_an_update_keeps_the_plan_and_states_the_check(store: PlanStore) -> None:
    found = store.load(request()).manifest
    assert found is not None
    check = PlanCheck(max_abs=1e-4, cosine_mean=0.99999, cosine_worst=0.9999, samples=8)
    store.update(found.model_copy(update={"check": check}))
    again = store.load(request())
    assert again.plan == PLAN
    assert again.manifest is not None
    assert again.manifest.checked == "checked: cosine 0.99999, largest difference 1.0e-04"


def test_what_killed_writers_left_is_swept_once_it_is_old(store: PlanStore) -> None:
    orphan = store.folder / f"{key(device=ADA).stem}-0123456789ab.plan"
    partial = store.folder / ".x.plan.abc.partial"
    fresh = store.folder / ".y.plan.abc.partial"
    for path in (orphan, partial, fresh):
        path.write_bytes(b"half")
    for path in (orphan, partial):
        os.utime(path, (0, 0))
    store.save(manifest(key(largest=2)), PLAN)
    assert (orphan.exists(), partial.exists(), fresh.exists()) == (False, False, True)
    assert store.load(request()).plan == PLAN


def test_saving_again_replaces_and_the_old_plan_is_swept(store: PlanStore) -> None:
    old = next(store.folder.glob("*.plan"))
    os.utime(old, (0, 0))
    store.save(manifest(), b"new")
    assert [path.read_bytes() for path in store.folder.glob("*.plan")] == [b"new"]
    assert store.load(request()).plan == b"new"


def test_a_full_disk_leaves_the_old_plan(store: PlanStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        store.save(manifest(), b"new")
    assert store.load(request()).plan == PLAN
    assert not list(store.folder.glob(".*.partial"))


@pytest.mark.parametrize(
    ("owner", "operation"), [(os, "fsync"), (os, "open"), (Path, "replace"), (Path, "unlink")]
)
def test_whatever_step_fails_a_whole_plan_is_left(
    store: PlanStore, monkeypatch: pytest.MonkeyPatch, owner: Any, operation: str
) -> None:
    """The Nth call fails, for every N until a save needs fewer calls than that."""
    original, failed = getattr(owner, operation), 0
    for nth in range(1, 40):
        calls = iter(range(1, 1000))

        def failing(*arguments: Any, nth: int = nth, calls: Iterator[int] = calls, **options: Any) -> Any:
            if next(calls) == nth:
                raise OSError(28, "No space left on device")
            return original(*arguments, **options)

        new = bytes([nth]) * 100
        with monkeypatch.context() as patch:
            patch.setattr(owner, operation, failing)
            try:
                store.save(manifest(), new)
            except (StorageError, OSError):
                failed += 1
        outcome = store.load(request())
        assert outcome.state is PlanState.READY, (nth, outcome.reason)
        if next(calls) <= nth:
            break
    assert failed
    assert store.load(request()).plan == new


def test_a_sealed_record_is_json_that_people_can_read(store: PlanStore) -> None:
    content = next(store.folder.glob("*.manifest.json")).read_bytes()
    assert json.loads(content)["record"]["rung"] == "s4-int8"
    assert seal(unseal(content, PlanManifest)) == content


def test_a_record_of_another_schema_names_the_field() -> None:
    body = manifest().model_copy(update={"schema_version": 2})
    with pytest.raises(ValueError, match="schema_version"):
        unseal(seal(body), PlanManifest)


def test_a_key_depends_on_every_part() -> None:
    parts = [key(), key(ADA), key(graph=OTHER), key(version="11.0"), key(largest=4)]
    parts += [
        key().model_copy(update={"flags": ("tf32",)}),
        key().model_copy(update={"weights_sha256": OTHER}),
    ]
    assert len({one.digest for one in parts}) == len(parts)
