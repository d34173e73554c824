"""From points to a result, and what a result says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.backends import Outputs
from foundry_edge_runtime.backends.fake import FakeBackend, FakeEngine
from foundry_edge_runtime.bundle.load import Bundle, Graph
from foundry_edge_runtime.errors import BackendError, BundleError, GateError, InputError, ScanError
from foundry_edge_runtime.grouping import Preprocessing, group_points
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.profile import empty_profile
from foundry_edge_runtime.result import top_classes
from tests.runtime.test_choice import measured
from tests.runtime.tiny_bundle import (
    GROUPS,
    LABELS,
    WIDTH,
    build_graph,
    expected,
    file_ref,
    read_manifest,
    write_bundle,
    write_manifest,
)

RNG = np.random.default_rng(5)
POINTS = RNG.normal(size=(300, 3))


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_result_is_what_the_graph_computes(bundle: Bundle, precision: str) -> None:
    with Session(bundle, Budget(tokens=4, precision=precision)) as session:
        result = session.run(POINTS)
    grouped = group_points(result.cloud.xyz, bundle.manifest.preprocessing)
    tokens, pooled, logits = expected(grouped.groups[None], grouped.centers[None], precision, 4)
    np.testing.assert_allclose(result.tokens, tokens[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(result.pooled, pooled[0], rtol=1e-5, atol=1e-5)
    assert result.logits is not None
    np.testing.assert_allclose(result.logits, logits[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(result.centers, grouped.centers)
    scores = np.exp(logits[0]) / np.exp(logits[0]).sum()
    assert result.top is not None
    assert [one.label for one in result.top] == [LABELS[i] for i in np.argsort(-scores)[:5]]
    assert result.top[0].score == pytest.approx(scores.max(), rel=1e-4)


def test_order_of_points_changes_nothing(bundle: Bundle) -> None:
    session = Session(bundle)
    first, second = session.run(POINTS), session.run(POINTS[RNG.permutation(len(POINTS))])
    np.testing.assert_allclose(first.pooled, second.pooled, atol=1e-5)


def test_record_has_the_contract_s_keys(bundle: Bundle) -> None:
    budget = Budget(max_latency_ms=1000, min_accuracy=82)
    record = Session(bundle, budget).run(POINTS, read_ms=2.5).as_json()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert list(record) == [
        *("schema", "input", "points", "bounds", "warnings", "bundle", "engine", "budget"),
        *("latency_ms", "prediction", "features"),
    ]
    assert record["points"] == {"read": 300, "valid": 300, "dropped": {"non_finite": 0, "out_of_range": 0}}
    assert record["bounds"] == {"min": POINTS.min(axis=0).tolist(), "max": POINTS.max(axis=0).tolist()}
    assert record["bundle"] == {"id": "tiny-1", "source": "path"}
    assert {k: record["engine"][k] for k in ("tokens", "precision", "backend")} == {
        "tokens": 4,
        "precision": "fp32",
        "backend": "onnxruntime",
    }
    reason = "the most accurate within 1000 ms with an accuracy of at least 82 % ("
    assert record["engine"]["reason"].startswith(reason)
    limits = {"max_latency_ms": 1000, "min_accuracy": 82, "max_memory_mb": None}
    assert record["budget"] == {**limits, "met": True, "kept": True}
    assert set(record["latency_ms"]) == {"read", "group", "engine", "total"}
    assert record["latency_ms"]["read"] == 2.5
    assert record["latency_ms"]["total"] == pytest.approx(
        sum(record["latency_ms"][part] for part in ("read", "group", "engine")), abs=0.01
    )
    assert len(record["prediction"]["top"]) == 5
    assert set(record["prediction"]["top"][0]) == {"label", "score"}
    assert record["features"] == {"tokens": [GROUPS, WIDTH], "global": 2 * WIDTH, "saved": None}


def test_rung_without_head_gives_features_and_no_class(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b", head=False))
    result = Session(bundle).run(POINTS)
    assert result.as_json()["prediction"] is None
    assert (result.logits, result.warnings, result.confident) == (None, (), False)


def test_doubt_is_said(bundle: Bundle) -> None:
    never = bundle.manifest.model_copy(update={"min_score": 1.0})
    result = Session(Bundle(bundle.folder, "path", never)).run(POINTS)
    assert not result.confident
    assert result.warnings[-1].startswith(f"no confident class: the best is {result.top[0].label}")  # type: ignore[index]
    always = bundle.manifest.model_copy(update={"min_score": 0.0})
    assert Session(Bundle(bundle.folder, "path", always)).run(POINTS).warnings == ()


def test_top_classes_of_extreme_logits() -> None:
    found = top_classes(np.array([1e4, -1e4, 1e4], np.float32), ("a", "b", "c"))
    assert [(one.label, one.score) for one in found] == [("a", 0.5), ("c", 0.5), ("b", 0.0)]


def test_dropped_points_are_counted(bundle: Bundle) -> None:
    points = np.vstack([POINTS, [[np.nan, 0, 0], [1e9, 0, 0]]])
    record = Session(bundle).run(points).as_json()
    assert record["points"] == {"read": 302, "valid": 300, "dropped": {"non_finite": 1, "out_of_range": 1}}


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((4, 3), np.nan), np.zeros((4, 2)), [["a"]]])
def test_points_that_are_none(bundle: Bundle, points: object) -> None:
    with pytest.raises(ScanError):
        Session(bundle).run(points)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "points", [np.zeros((1, 3)), np.zeros((500, 3)), np.tile([[1e7, -1e7, 3.0]], (9, 1))]
)
def test_degenerate_clouds_give_finite_features(bundle: Bundle, points: np.ndarray) -> None:
    assert np.isfinite(Session(bundle).run(points).pooled).all()


def test_engine_that_gives_nan_is_an_error(tmp_path: Path) -> None:
    class Broken(FakeBackend):
        def load(self, graph: Graph, spec: Preprocessing) -> FakeEngine:
            return BrokenEngine(self, graph.name, spec)

    class BrokenEngine(FakeEngine):
        def run(self, groups: FloatArray, centers: FloatArray) -> Outputs:
            return super().run(groups, centers * np.float32(np.nan))

    session = Session(load_bundle(write_bundle(tmp_path / "b")), backend=Broken(labels=len(LABELS)))
    with pytest.raises(
        BackendError, match=r"no engine of bundle tiny-1 that may be used loads here: .*not finite"
    ):
        session.run(POINTS)


def test_labels_must_match_the_logits(bundle_folder: Path) -> None:
    write_manifest(bundle_folder, {**read_manifest(bundle_folder), "labels": ["chair"]})
    with pytest.raises(BundleError, match="6 logits, the manifest 1 labels"):
        Session(load_bundle(bundle_folder)).run(POINTS)


def test_only_the_chosen_engine_is_loaded(bundle: Bundle) -> None:
    fake = FakeBackend(labels=len(LABELS))
    with Session(bundle, backend=fake) as session:
        session.run(POINTS)
    assert fake.log == ["load s4-fp32.onnx", "run s4-fp32.onnx", "run s4-fp32.onnx", "close s4-fp32.onnx"]


def test_budget_decides_by_what_was_measured(bundle: Bundle) -> None:
    times = {"s1-fp32": 8.0, "s4-fp32": 30.0, "s1-int8": 5.0, "s4-int8": 20.0}
    engines = [measured(rung, times[rung.name], backend="fake") for rung in bundle.manifest.rungs]
    profile = empty_profile(bundle.manifest).add(*engines)
    fake = FakeBackend(labels=len(LABELS))
    for budget, name in (
        (Budget(max_latency_ms=15), "s1-fp32"),
        (Budget(min_accuracy=83, prefer="latency"), "s4-int8"),
        (Budget(prefer="latency"), "s1-int8"),
    ):
        assert Session(bundle, budget, profile=profile, backend=fake).choice.rung.name == name


def test_given_profile_is_used_and_nothing_measured(bundle: Bundle) -> None:
    session = Session(bundle, Budget(max_latency_ms=1), profile=empty_profile(bundle.manifest))
    assert (session.choice.met, session.choice.measured) == (False, None)


def test_unknown_backend_and_rung(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="--backend must be one of"):
        Session(bundle, Budget(backend="gpu"))
    with pytest.raises(InputError, match="no rung for --tokens 3"):
        Session(bundle, Budget(tokens=3))


def test_overhead_over_grouping_and_engine_is_small(bundle: Bundle) -> None:
    """The issue's target is 5 % with the shipped model; the tiny one computes nearly nothing, so 2 ms."""
    session = Session(bundle)
    cloud = session.run(POINTS).cloud
    overheads = []
    for _ in range(20):
        started = time.perf_counter()
        latency = session.run(cloud).latency
        overheads.append((time.perf_counter() - started) * 1e3 - latency.group - latency.engine)
    assert sorted(overheads)[10] < 2.0


def test_engine_that_does_not_load_gives_way_to_the_next_best(bundle: Bundle) -> None:
    said: list[str] = []
    fake = FakeBackend(labels=len(LABELS), broken={"s4-fp32.onnx": "out of memory"})
    session = Session(bundle, backend=fake, notify=said.append)
    assert session.choice.rung.name == "s4-int8"
    assert said == ["engine s4-fp32 failed, taking the next: fake: out of memory"]
    with pytest.raises(BackendError, match="out of memory"):
        Session(bundle, backend=fake, strict=True)


def test_engine_that_dies_gives_way_and_the_scan_is_done(bundle: Bundle) -> None:
    said: list[str] = []
    fake = FakeBackend(labels=len(LABELS))
    session = Session(bundle, backend=fake, notify=said.append)
    session.run(POINTS)
    session._engine.close()  # from now on the engine fails
    result = session.run(POINTS)
    assert result.choice.rung.name == session.choice.rung.name == "s4-int8"
    assert said == ["engine s4-fp32 failed, taking the next: fake: the engine was closed"]
    assert session.run(POINTS).choice == result.choice


def test_when_every_engine_fails_the_first_reason_is_told(bundle: Bundle) -> None:
    broken = {rung.graph.name: f"reason {rung.name}" for rung in bundle.manifest.rungs}
    with pytest.raises(BackendError, match="that may be used loads here: fake: reason s4-fp32"):
        Session(bundle, backend=FakeBackend(broken=broken))


def test_closed_session_does_not_run(bundle: Bundle) -> None:
    with Session(bundle) as session:
        session.run(POINTS)
    with pytest.raises(BackendError, match="the session was closed"):
        session.run(POINTS)


def test_strict_session(bundle: Bundle) -> None:
    with pytest.raises(GateError, match="none keeps within"):
        Session(bundle, Budget(max_latency_ms=1e-6), strict=True)


def test_real_engine_that_does_not_load(bundle_folder: Path) -> None:
    """A graph that ONNX Runtime refuses, with a hash that is right: the other precision takes over."""
    path = bundle_folder / "s4-fp32.onnx"
    path.write_bytes(build_graph("fp32", 4, "fp32.bin").replace(b"ReduceMean", b"ReduceMaen"))
    manifest = read_manifest(bundle_folder)
    manifest["rungs"][1]["graph"] = file_ref(path)
    write_manifest(bundle_folder, manifest)
    said: list[str] = []
    session = Session(load_bundle(bundle_folder), notify=said.append)
    assert session.choice.rung.name == "s4-int8"
    assert "s4-fp32 failed" in said[0]
    assert "ReduceMaen" in said[0]
