"""Adaptive sessions: the ladder, what is kept warm, and switching without loading."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.adaptive import Rungs, ladder_of, warm_ladder
from foundry_edge_runtime.backends.base import Engine
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.choice import Choice
from foundry_edge_runtime.control import Policy
from foundry_edge_runtime.errors import BackendError, BundleError, InputError
from foundry_edge_runtime.profile import Profile, empty_profile
from tests.runtime.test_choice import measured
from tests.runtime.tiny_bundle import LABELS

POINTS = np.random.default_rng(2).normal(size=(200, 3))
TIMES = {"s4-fp32": 24.0, "s4-int8": 16.0, "s1-fp32": 20.0, "s1-int8": 4.0}


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture
def profile(bundle: Bundle) -> Profile:
    engines = [measured(rung, TIMES[rung.name], backend="fake") for rung in bundle.manifest.rungs]
    return empty_profile(bundle.manifest).add(*engines)


def backend(slowness: dict[str, float] | None = None) -> FakeBackend:
    return FakeBackend(labels=len(LABELS), latency_ms=slowness or {})


def names(rungs: Rungs) -> list[str]:
    return [choice.rung.name for choice in rungs.choices]


def test_ladder_is_best_first_and_each_rung_faster(bundle: Bundle, profile: Profile) -> None:
    """s1-fp32 is less accurate than s4-int8 and slower: nothing speaks for it."""
    found = ladder_of(bundle.manifest, profile, Budget(max_latency_ms=30, backend="fake"))
    assert [one.rung.name for one in found] == ["s4-fp32", "s4-int8", "s1-int8"]
    above = ladder_of(bundle.manifest, profile, Budget(max_latency_ms=30, min_accuracy=83, backend="fake"))
    assert [one.rung.name for one in above] == ["s4-fp32", "s4-int8"]
    pinned = ladder_of(bundle.manifest, profile, Budget(max_latency_ms=30, tokens=1, backend="fake"))
    assert [one.rung.name for one in pinned] == ["s1-fp32", "s1-int8"]


def test_session_steps_down_when_slow_and_up_again(
    bundle: Bundle, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engines take the time of the profile, then three times as long, then a quarter; time is made up."""
    now = [0.0]

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("foundry_edge_runtime.session.time", SimpleNamespace(perf_counter=lambda: now[0]))
    fake = FakeBackend(labels=len(LABELS), sleep=pass_time)
    session = Session(bundle, Budget(max_latency_ms=30), profile=profile, backend=fake, adaptive=True)
    assert session.rungs is not None
    session.rungs.policy = Policy(window=8, least=2, patience=4)
    session.rungs.use(session.choice)
    used = []
    for slower in [1.0] * 4 + [3.0] * 4 + [0.25] * 30:
        fake.latency_ms = {f"{name}.onnx": ms * slower for name, ms in TIMES.items()}
        used.append(session.run(POINTS).choice.rung.name)
    assert set(used[:6]) == {"s4-fp32"}  # two slow scans are enough, the largest of several may be chance
    assert set(used[6:8]) == {"s1-int8"}
    assert used[-1] == "s4-fp32"
    assert "s4-int8" in used
    assert [line for line in fake.log if line.startswith("load")] == [
        "load s4-fp32.onnx",
        "load s1-int8.onnx",
        "load s4-int8.onnx",
    ]


def test_switching_takes_less_than_a_frame(bundle: Bundle) -> None:
    """With real engines: every rung computes its first scan at once, nothing is loaded for it."""
    engines = [measured(rung, TIMES[rung.name], backend="onnxruntime") for rung in bundle.manifest.rungs]
    profile = empty_profile(bundle.manifest).add(*engines)
    session = Session(bundle, Budget(max_latency_ms=1000), profile=profile, adaptive=True)
    assert session.rungs is not None
    assert len(session.rungs.engines) == 3
    for choice, engine in zip(session.rungs.choices, session.rungs.engines, strict=True):
        session.choice, session._engine = choice, engine
        started = time.perf_counter()
        assert session.run(POINTS).choice == choice
        assert time.perf_counter() - started < 0.5


def test_adaptive_needs_a_latency(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="--adaptive needs a latency to hold; add --max-latency-ms"):
        Session(bundle, Budget(), adaptive=True)
    fake = backend()
    with pytest.raises(InputError, match="--adaptive needs a latency"):
        Session(bundle, Budget(), backend=fake, adaptive=True)
    assert fake.log == []


def test_bundle_damaged_beside_the_chosen_engine_leaves_none_open(bundle: Bundle, profile: Profile) -> None:
    (bundle.folder / "s1-int8.onnx").write_bytes(b"")
    fake = backend()
    with pytest.raises(BundleError, match=r"s1-int8\.onnx"):
        Session(bundle, Budget(max_latency_ms=30), profile=profile, backend=fake, adaptive=True)
    loaded = [line.partition(" ")[2] for line in fake.log if line.startswith("load")]
    assert loaded
    assert sorted(f"close {name}" for name in loaded) == sorted(one for one in fake.log if "close" in one)


def test_ladder_that_cannot_be_loaded_closes_what_it_loaded(bundle: Bundle, profile: Profile) -> None:
    budget = Budget(max_latency_ms=30, backend="fake")
    fake = backend()
    ladder = ladder_of(bundle.manifest, profile, budget)
    first = Choice(ladder[0].rung, ladder[0].backend, "", met=True, measured=ladder[0].measured)

    def load(one: Choice) -> Engine:
        if one.rung.name == ladder[1].rung.name:
            raise BundleError("is damaged", where=one.rung.name)
        return fake.load(bundle.graph(one.rung), bundle.manifest.preprocessing)

    with pytest.raises(BundleError, match="is damaged"):
        warm_ladder(ladder, (first, load(first)), budget, load, lambda: 0.0)
    assert fake.log == ["load s4-fp32.onnx", "load s1-int8.onnx", "close s1-int8.onnx"]


def test_memory_limits_what_is_kept_warm(bundle: Bundle, profile: Profile) -> None:
    """Chosen first, then the fastest: it is what holds the budget when things are bad."""
    budget = Budget(max_latency_ms=30, max_memory_mb=100, backend="fake")
    fake = backend()
    ladder = ladder_of(bundle.manifest, profile, Budget(max_latency_ms=30, backend="fake"))
    first = ladder[0]
    choice = Choice(first.rung, first.backend, "", met=True, measured=first.measured)

    def load(one: Choice) -> object:
        used.append(60.0)
        return fake.load(bundle.graph(one.rung), bundle.manifest.preprocessing)

    used: list[float] = [60.0]
    rungs = warm_ladder(ladder, (choice, load(choice)), budget, load, lambda: sum(used))  # type: ignore[arg-type]
    assert (names(rungs), rungs.left_out) == (["s4-fp32"], ["s1-int8", "s4-int8"])
    used[:] = [30.0]
    rungs = warm_ladder(ladder, (choice, load(choice)), budget, load, lambda: sum(used))  # type: ignore[arg-type]
    assert (names(rungs), rungs.left_out) == (["s4-fp32", "s1-int8"], ["s4-int8"])


def test_engine_of_the_ladder_that_does_not_load_is_left_out(bundle: Bundle, profile: Profile) -> None:
    said: list[str] = []
    fake = FakeBackend(labels=len(LABELS), broken={"s1-int8.onnx": "broken"})
    session = Session(
        bundle, Budget(max_latency_ms=30), profile=profile, backend=fake, adaptive=True, notify=said.append
    )
    assert session.rungs is not None
    assert names(session.rungs) == ["s4-fp32", "s4-int8"]
    assert said == ["not kept warm (memory, or they fail to load): s1-int8"]


def test_engine_that_dies_gives_way_to_a_warm_one(bundle: Bundle, profile: Profile) -> None:
    fake = backend()
    session = Session(bundle, Budget(max_latency_ms=30), profile=profile, backend=fake, adaptive=True)
    loads = len(fake.log)
    for left in ("s4-int8", "s1-int8"):
        session._engine.close()
        assert session.run(POINTS).choice.rung.name == left
    assert not any(line.startswith("load") for line in fake.log[loads:])
    session._engine.close()
    assert session.run(POINTS).choice.rung.name == "s1-fp32"  # off the ladder, but it computes
    session._engine.close()
    with pytest.raises(BackendError, match="that may be used loads here"):
        session.run(POINTS)


def test_every_engine_is_closed_once(bundle: Bundle, profile: Profile) -> None:
    fake = backend()
    Session(bundle, Budget(max_latency_ms=30), profile=profile, backend=fake, adaptive=True).close()
    closed = [line for line in fake.log if line.startswith("close")]
    assert sorted(closed) == ["close s1-int8.onnx", "close s4-fp32.onnx", "close s4-int8.onnx"]
