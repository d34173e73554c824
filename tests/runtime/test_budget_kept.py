"""What a scan took is compared with the budget, whatever its engine promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.profile import Profile, empty_profile
from foundry_edge_runtime.result import Latency
from foundry_edge_runtime.spent import Spent, excesses, kept
from tests.runtime.test_choice import measured
from tests.runtime.tiny_bundle import LABELS, WIDTH

RNG = np.random.default_rng(6)
needs_proc = pytest.mark.skipif(resident_mb() is None, reason="this system does not tell")


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


def fast(bundle: Bundle, backend: str = "onnxruntime") -> Profile:
    """A profile in which every engine is fast and small."""
    manifest = bundle.manifest
    engines = tuple(measured(rung, 1.0, 1.0, backend) for rung in manifest.rungs)
    return empty_profile(manifest).model_copy(update={"engines": engines})


@pytest.mark.parametrize(
    ("limits", "latency", "peak", "expected"),
    [
        ({}, 1e9, 1e9, True),
        ({"max_latency_ms": 5}, 5.0, None, True),
        ({"max_latency_ms": 5}, 5.1, None, False),
        ({"max_memory_mb": 5}, 1e9, 5.0, True),
        ({"max_memory_mb": 5}, 1.0, 5.1, False),
        ({"max_memory_mb": 5}, 1.0, None, None),
        ({"max_memory_mb": 5, "max_latency_ms": 5}, 6.0, None, False),
    ],
)
def test_kept(limits: dict[str, float], latency: float, peak: float | None, expected: bool | None) -> None:
    assert kept(Budget(**limits), Spent(latency, peak, 10)) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("adaptive", [False, True])
def test_slow_scan_is_not_kept_though_its_engine_is_fast(bundle: Bundle, adaptive: bool) -> None:
    slow = FakeBackend(WIDTH, len(LABELS), {rung.graph.name: 30.0 for rung in bundle.manifest.rungs})
    budget, profile = Budget(max_latency_ms=5), fast(bundle, "fake")
    session = Session(bundle, budget, profile=profile, backend=slow, strict=True, adaptive=adaptive)
    record = session.run(RNG.normal(size=(300, 3))).as_json()
    assert (record["budget"]["met"], record["budget"]["kept"]) == (True, False)
    (line,) = [line for line in record["warnings"] if line.startswith("over budget")]
    assert "ms, 5 are allowed; " in line


def test_fast_scan_is_kept_without_a_word(bundle: Bundle) -> None:
    result = Session(bundle, Budget(max_latency_ms=1e4), profile=fast(bundle)).run(RNG.normal(size=(300, 3)))
    assert result.kept is True
    assert result.warnings == ()


@needs_proc
def test_peak_of_the_process_is_compared(bundle: Bundle) -> None:
    small = Session(bundle, Budget(max_memory_mb=2), profile=fast(bundle)).run(RNG.normal(size=(300, 3)))
    assert small.choice.met
    assert small.kept is False
    assert small.warnings[0].startswith("over budget: the process took ")
    assert "MiB, 2 are allowed" in small.warnings[0]
    assert Session(bundle, Budget(max_memory_mb=1e6), profile=fast(bundle)).run(np.eye(3)).kept is True


def test_the_reason_fits(bundle: Bundle) -> None:
    budget = Budget(max_latency_ms=5)
    choice = Session(bundle, budget, profile=fast(bundle)).choice
    spent = Spent(6.0, None, 1000)
    assert excesses(budget, spent, choice, 100)[0].endswith(
        "took 6.0 ms, 5 are allowed; the scan has 1000 points, engines are measured with 100"
    )
    assert "the device was slower" in excesses(budget, spent, choice, 1000)[0]
    assert "no engine is known" in excesses(budget, spent, replace(choice, met=False), 1000)[0]
    assert excesses(budget, spent._replace(latency_ms=5.0), choice, 1) == ()


def test_reading_is_not_in_the_latency(bundle: Bundle) -> None:
    result = Session(bundle, Budget(max_latency_ms=1e4), profile=fast(bundle)).run(np.eye(3), read_ms=1e5)
    assert result.kept is True
    assert replace(result, latency=Latency(0, 9e3, 2e3, 11e3)).kept is False
