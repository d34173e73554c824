"""evaluate: every protocol on a tiny teacher and student, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundry_edge.data.shapes import TEST, load_npz
from foundry_edge.evaluation.evaluate import FROZEN, PROTOCOLS, evaluate
from foundry_edge.evaluation.rungs import open_rungs
from foundry_edge.evaluation.subject import Judged
from foundry_edge.load import load_teacher
from foundry_edge.measures.metrics import Metrics
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.backends.base import Outputs
from foundry_edge_runtime.backends.ort import OnnxRuntimeEngine
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.errors import CheckpointError, DataError, InputError
from foundry_edge_runtime.pointcloud import FloatArray


@pytest.mark.parametrize("protocol", ["probe", "svm"])
def test_linear_protocols_separate_easy_classes(teacher: Path, shapes: Path, protocol: str) -> None:
    report = evaluate(teacher, shapes, protocol, seeds=(0, 1))
    assert report.as_dict()["schema"] == 1
    assert list(report.as_dict()) == ["schema", "model", "data", "protocol", "metrics", "seeds", "samples"]
    assert report.samples == 24
    assert report.as_dict()["metrics"]["accuracy"] > 80
    assert "accuracy_std" in report.as_dict()["metrics"]
    json.dumps(report.as_dict(), allow_nan=False)


@pytest.fixture
def noise(shapes: Path, tmp_path: Path) -> Path:
    """The same shapes with labels that mean nothing."""
    with np.load(shapes) as data:
        arrays = dict(data)
    arrays["label"] = np.random.default_rng(0).permutation(arrays["label"])
    np.savez(tmp_path / "noise.npz", **arrays)
    return tmp_path / "noise.npz"


def test_labels_that_mean_nothing_score_at_chance(teacher: Path, noise: Path) -> None:
    report = evaluate(teacher, noise, "probe")
    assert report.rungs[0].metrics["accuracy"] < 65


def test_a_student_is_judged_at_every_budget(student: Path, shapes: Path) -> None:
    report = evaluate(student, shapes, "fewshot", seeds=(0,))
    assert [rung.name for rung in report.rungs] == ["s1-fp32", "s4-fp32"]
    metrics = report.as_dict()["metrics"]
    assert list(metrics) == ["s1-fp32", "s4-fp32"]
    assert metrics["s4-fp32"]["all_classes"] == 3
    assert metrics["s4-fp32"]["all_10shot"] > 60
    assert "5way_10shot" not in metrics["s4-fp32"]  # three classes only


def test_one_budget_gives_flat_metrics(student: Path, shapes: Path) -> None:
    report = evaluate(student, shapes, "probe", tokens=(4,), seeds=(0,))
    assert set(report.as_dict()["metrics"]) == {"accuracy", "strength"}


def test_seeds_decide_and_repeat(teacher: Path, noise: Path) -> None:
    one, again = (evaluate(teacher, noise, "fewshot", seeds=(3,)).as_dict() for _ in range(2))
    other = evaluate(teacher, noise, "fewshot", seeds=(4,)).as_dict()
    assert one == again
    assert one["metrics"] != other["metrics"]


def test_features_come_from_the_cache_and_change_with_the_weights(
    teacher: Path, student: Path, shapes: Path
) -> None:
    evaluate(teacher, shapes, "probe", seeds=(0,))
    kept = list((cache_folder() / "features").iterdir())
    assert len(kept) == 1
    evaluate(teacher, shapes, "svm", seeds=(0,))
    assert list((cache_folder() / "features").iterdir()) == kept
    evaluate(student, shapes, "svm", tokens=(1,), seeds=(0,))
    assert len(list((cache_folder() / "features").iterdir())) == 2


def test_fidelity_of_a_teacher_to_itself_is_perfect(teacher: Path, student: Path, shapes: Path) -> None:
    metrics = evaluate(teacher, shapes, "fidelity", teacher=teacher).rungs[0].metrics
    assert metrics["cosine_mean"] == pytest.approx(1, abs=1e-6)
    assert metrics["smooth_l1"] == pytest.approx(0, abs=1e-12)
    assert metrics["cka"] == pytest.approx(1, abs=1e-6)
    rungs = evaluate(student, shapes, "fidelity", teacher=teacher).rungs
    assert all(rung.metrics["cosine_worst"] <= rung.metrics["cosine_mean"] < 1 for rung in rungs)


def test_fidelity_needs_the_right_teacher(student: Path, shapes: Path) -> None:
    with pytest.raises(CheckpointError, match="--teacher"):
        evaluate(student, shapes, "fidelity")
    with pytest.raises(CheckpointError, match="d=192"):
        evaluate(student, shapes, "fidelity", teacher="embedded:teacher")


def test_fidelity_refuses_what_is_not_the_models_teacher(
    teacher: Path, student: Path, shapes: Path, tmp_path: Path
) -> None:
    torch.manual_seed(9)
    other = Teacher(load_teacher(teacher).config)
    save_weights(tmp_path, other.config, other)
    with pytest.raises(CheckpointError, match="not the teacher that the model was distilled from"):
        evaluate(student, shapes, "fidelity", teacher=tmp_path)
    with pytest.raises(CheckpointError, match="is no teacher"):
        evaluate(student, shapes, "fidelity", teacher=student)
    with pytest.raises(CheckpointError, match="a teacher has no teacher"):
        evaluate(teacher, shapes, "fidelity")


def test_features_that_are_not_finite_are_refused(teacher: Path, shapes: Path, tmp_path: Path) -> None:
    broken = load_teacher(teacher)
    with torch.no_grad():
        next(iter(broken.parameters())).fill_(1e38)
    save_weights(tmp_path, broken.config, broken)
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        evaluate(tmp_path, shapes, "probe", seeds=(0,))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"protocol": "probe", "epochs": 3.0}, "--epochs: means nothing to probe"),
        ({"protocol": "svm", "teacher": "embedded:teacher"}, "--teacher: means nothing to svm"),
        ({"backend": "tensorrt"}, "--backend: runs engines"),
    ],
)
def test_an_option_without_use_is_refused(
    student: Path, shapes: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        evaluate(student, shapes, **options)


def test_parts_that_follow_position_are_found(teacher: Path, parts: Path) -> None:
    metrics = evaluate(teacher, parts, "parts", seeds=(0,), epochs=12).rungs[0].metrics
    assert metrics["instance_miou"] > 60  # naming one part of two everywhere gives 25
    assert metrics["class_miou"] > 60
    assert metrics["point_accuracy"] > 75
    assert 40 < metrics["probe_instance_miou"] <= 100


def test_fine_tuning_learns_and_the_same_again_is_read_from_the_cache(student: Path, shapes: Path) -> None:
    first = evaluate(student, shapes, "finetune", seeds=(0,), epochs=20)
    assert all(rung.metrics["accuracy"] > 60 for rung in first.rungs)
    again = evaluate(student, shapes, "finetune", seeds=(0,), epochs=20)
    assert again.as_dict() == first.as_dict()


@pytest.mark.parametrize("protocol", ["finetune", "parts"])
def test_a_training_in_the_cache_is_of_its_labels_split_and_classes(
    teacher: Path, parts: Path, tmp_path: Path, protocol: str
) -> None:
    with np.load(parts) as data:
        arrays = dict(data)
    part = arrays["part"]
    changes: list[dict[str, np.ndarray]] = [
        {},
        {"label": (arrays["label"] + 1) % 3, "part": (part + 2) % 6},
        {"split": 1 - arrays["split"]},
        {"classes": np.array(["ball", "stick", "plate", "cube"])},
        {"part": part ^ 1},
    ]
    folders = []
    for change in changes:
        np.savez(tmp_path / "halves.npz", **{**arrays, **change})
        evaluate(teacher, tmp_path / "halves.npz", protocol, seeds=(0,), epochs=1)
        folders.append(set((cache_folder() / protocol).iterdir()))
    assert [len(seen) for seen in folders] == [1, 2, 3, 4, 5]
    evaluate(teacher, tmp_path / "halves.npz", protocol, seeds=(0,), epochs=1)
    assert set((cache_folder() / protocol).iterdir()) == folders[-1]


def test_fine_tuning_on_other_labels_gives_another_figure(teacher: Path, shapes: Path) -> None:
    right = load_npz(shapes)
    wrong = replace(right, label=np.where(right.split == TEST, (right.label + 1) % 3, right.label))
    first, other = (evaluate(teacher, one, "finetune", seeds=(0,), epochs=20) for one in (right, wrong))
    assert first.rungs[0].metrics["accuracy"] > 60
    assert other.rungs[0].metrics["accuracy"] < 40
    learnt = replace(right, label=(right.label + 1) % 3)
    again = evaluate(teacher, learnt, "finetune", seeds=(0,), epochs=20)
    assert again.rungs[0].metrics["accuracy"] > 60  # without training, none would be named rightly


def test_a_published_file_is_judged_by_every_protocol(
    student: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Path
) -> None:
    published = tmp_path / "teacher.pth"
    published.write_bytes(b"weights as others publish them")
    monkeypatch.setattr("foundry_edge.load.published_teacher", lambda *_: load_teacher(teacher))
    tuned = evaluate(published, shapes, "finetune", seeds=(0,), epochs=1)
    assert [rung.name for rung in tuned.rungs] == ["full-fp32"]
    known = evaluate(student, shapes, "fidelity", teacher=teacher).as_dict()["metrics"]
    assert evaluate(student, shapes, "fidelity", teacher=published).as_dict()["metrics"] == known


def test_engines_of_a_bundle_are_judged_as_the_student_they_came_from() -> None:
    report = evaluate("embedded:bundle", None, "probe", tokens=(4,), seeds=(0,))
    assert [rung.name for rung in report.rungs] == ["s4-fp32", "s4-int8"]
    torch = evaluate("embedded:student", None, "probe", tokens=(4,), seeds=(0,)).rungs[0].metrics
    fp32, int8 = (rung.metrics["accuracy"] for rung in report.rungs)
    assert fp32 == pytest.approx(torch["accuracy"], abs=2)
    assert int8 == pytest.approx(fp32, abs=10)


def test_engines_are_closed_even_when_judging_fails(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    closed: list[int] = []
    run, close = OnnxRuntimeEngine.run, OnnxRuntimeEngine.close

    def noted(engine: OnnxRuntimeEngine, *arrays: FloatArray) -> Outputs:
        opened.append(id(engine))
        return run(engine, *arrays)

    def noted_close(engine: OnnxRuntimeEngine) -> None:
        closed.append(id(engine))
        close(engine)

    def fail(*given: object) -> Metrics:
        raise DataError("cannot be judged")

    monkeypatch.setattr(OnnxRuntimeEngine, "run", noted)
    monkeypatch.setattr(OnnxRuntimeEngine, "close", noted_close)
    monkeypatch.setitem(FROZEN, "probe", fail)
    with pytest.raises(DataError, match="cannot be judged"):
        evaluate("embedded:bundle", shapes, "probe", tokens=(2,), seeds=(0,))
    assert len(set(opened)) == 2
    assert set(opened) == set(closed)


def test_engine_features_are_the_networks(shapes: Path) -> None:
    judged = Judged(load_npz(shapes).first(4))
    engine = judged.tokens(open_rungs("embedded:bundle", (2,), "fp32")[0])
    network = judged.tokens(open_rungs("embedded:student", (2,))[0])
    np.testing.assert_allclose(engine.numpy(), network.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("teacher", {"protocol": "guess"}, "unknown protocol 'guess'"),
        ("teacher", {"tokens": (4,)}, "no budget of 4"),
        ("student", {"tokens": (3,)}, "no budget of 3"),
        ("student", {"precision": "int8"}, "torch is fp32"),
        ("student", {"seeds": ()}, "--seeds"),
        ("student", {"seeds": (1, 1)}, "--seeds"),
        ("embedded:bundle", {"tokens": (4, 99)}, "no budget of 99"),
        ("embedded:bundle", {"precision": "fp16"}, "no rung"),
        ("embedded:bundle", {"protocol": "finetune", "tokens": (1,)}, "cannot be fine-tuned"),
        ("embedded:bundle", {"backend": "nothing"}, "--backend"),
    ],
)
def test_wrong_options_are_refused(
    request: pytest.FixtureRequest, shapes: Path, model: str, options: dict[str, object], message: str
) -> None:
    name = model if ":" in model else request.getfixturevalue(model)
    with pytest.raises(InputError, match=message):
        evaluate(name, shapes, **options)  # type: ignore[arg-type]


def test_data_that_lack_what_the_protocol_needs_are_refused(
    teacher: Path, shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no part labels"):
        evaluate(teacher, shapes, "parts")
    with np.load(shapes) as data:
        arrays = dict(data)
    np.savez(tmp_path / "unsplit.npz", **{**arrays, "split": np.zeros_like(arrays["split"])})
    for protocol in PROTOCOLS:
        if protocol != "parts":
            named = teacher if protocol == "fidelity" else None
            with pytest.raises(DataError, match="test side"):
                evaluate(teacher, tmp_path / "unsplit.npz", protocol, teacher=named)
    np.savez(tmp_path / "two.npz", **arrays)
    with pytest.raises(DataError, match="2 data sets"):
        evaluate(teacher, tmp_path, "probe")
