"""Distillation of a tiny teacher: better than before, the same twice, to the bit after a resume."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundry_edge.data.groupings import Views, group_shapes
from foundry_edge.data.shapes import TEST, load_npz
from foundry_edge.load import load_model, load_student, load_teacher
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import TeacherConfig, checked
from foundry_edge.models.lite_tokenizer import LiteTokenizer
from foundry_edge.models.store import WEIGHTS, save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training import distill as distill_module
from foundry_edge.training.compute import Compute
from foundry_edge.training.distill import distill
from foundry_edge.training.engine import Step
from foundry_edge.training.finetune import finetune
from foundry_edge.training.objective import Distillation
from foundry_edge.training.pretrain import pretrain
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.specialist import part_task
from foundry_edge.training.target_cache import kept_targets
from foundry_edge.training.targets import TeacherTargets
from foundry_edge_runtime.errors import CheckpointError, DataError, EnvironmentFault, InputError
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    preprocessing=Preprocessing(points=128, groups=16, group_size=8), width=48, depth=2, heads=2
)
SETTINGS = TrainSettings(
    steps=60, batch=32, precision="32-true", accelerator="cpu", checkpoint_every=20, log_every=10
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    model = Teacher(TINY)
    model.tokenizer.calibrate_batch_norm(torch.randn(8, 16, 8, 3) * 0.1)
    save_weights(folder, TINY, model)
    return folder


def test_distillation_brings_every_budget_closer_and_resumes_to_the_bit(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unbroken = distill(teacher, tokens=(1, 2, 4), out=tmp_path / "a", views=2, settings=SETTINGS)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("teacher ")]
    assert 5 <= len(told) <= 10  # as it is no terminal: fifths of the training clouds, then of the others
    for row in unbroken.budgets:
        assert row.after.smooth_l1 < 0.8 * row.before.smooth_l1
        assert row.after.cosine_mean > row.before.cosine_mean
    assert json.loads((tmp_path / "a/report.json").read_text())["budgets"][0]["tokens"] == 1

    _interrupt_at(monkeypatch, 45)
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, tokens=(1, 2, 4), out=tmp_path / "b", views=2, settings=SETTINGS)
    monkeypatch.undo()
    distill(teacher, tokens=(1, 2, 4), out=tmp_path / "b", views=2, settings=SETTINGS, resume=True)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    class Interrupted(Distillation):
        def after_step(self, step: Step) -> None:
            if step.number == number:
                raise KeyboardInterrupt

    monkeypatch.setattr(distill_module, "Distillation", Interrupted)


def test_a_run_is_resumed_with_the_same_options_only(teacher: Path, tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"steps": 3})
    distill(teacher, tokens=(2,), out=tmp_path, views=1, settings=short)
    with pytest.raises(CheckpointError, match=r"run\.json: it belongs to a run with another views: 1, now 2"):
        distill(teacher, tokens=(2,), out=tmp_path, views=2, settings=short, resume=True)
    with pytest.raises(CheckpointError, match="another tokens: \\[2\\], now \\[4\\]"):
        distill(teacher, tokens=(4,), out=tmp_path, views=1, settings=short, resume=True)


def test_a_run_is_resumed_on_the_same_data_only_and_a_refusal_writes_nothing(
    teacher: Path, sticks: Path, tmp_path: Path
) -> None:
    short = SETTINGS.model_copy(update={"steps": 3, "batch": 8})
    options: dict[str, Any] = {"tokens": (2,), "views": 1, "out": tmp_path / "out"}
    distill(teacher, [sticks], settings=short, **options)
    before = (tmp_path / "out/settings.json").read_bytes()
    arrays = dict(np.load(sticks))
    for change in ({"points": -arrays["points"]}, {"label": 1 - arrays["label"]}):
        np.savez(tmp_path / "sticks.npz", **{**arrays, **change})
        with pytest.raises(CheckpointError, match="another data_sha256"):
            distill(teacher, [tmp_path / "sticks.npz"], settings=short, resume=True, **options)
    other = short.model_copy(update={"learning_rate": 1e-4})
    with pytest.raises(CheckpointError, match="other settings"):
        distill(teacher, [sticks], settings=other, resume=True, **options)
    assert (tmp_path / "out/settings.json").read_bytes() == before
    longer = short.model_copy(update={"steps": 4})
    distill(teacher, [sticks], settings=longer, resume=True, **options)
    assert json.loads((tmp_path / "out/settings.json").read_text())["steps"] == 4


def test_a_run_on_features_is_resumed_with_the_same_files_and_start_only(
    teacher: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for folder in ("scans", "features", "other"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        xyz = rng.normal(size=(200, 3)).astype(np.float32)
        np.save(tmp_path / "scans" / f"{name}.npy", xyz)
        for folder in ("features", "other"):
            np.savez(tmp_path / folder / f"{name}.npz", xyz=xyz, features=rng.normal(size=(200, 8)))
    options: dict[str, Any] = {
        "tokens": (2,),
        "views": 1,
        "out": tmp_path / "out",
        "settings": SETTINGS.model_copy(update={"steps": 3, "batch": 1}),
    }
    scans, features = [tmp_path / "scans"], tmp_path / "features"
    distill(teacher, scans, teacher_features=features, **options)
    distill(teacher, scans, teacher_features=features, resume=True, **options)
    with pytest.raises(CheckpointError, match="another features_sha256"):
        distill(teacher, scans, teacher_features=tmp_path / "other", resume=True, **options)
    changed = load_teacher(teacher)
    torch.nn.init.normal_(changed.encoder.norm.bias)
    save_weights(tmp_path / "changed", TINY, changed)
    with pytest.raises(CheckpointError, match="another start"):
        distill(tmp_path / "changed", scans, teacher_features=features, resume=True, **options)
    np.save(tmp_path / "scans/a.npy", -np.load(tmp_path / "scans/a.npy"))
    np.savez(features / "a.npz", **{**np.load(features / "a.npz"), "xyz": np.load(tmp_path / "scans/a.npy")})
    with pytest.raises(CheckpointError, match="another data_sha256"):
        distill(teacher, scans, teacher_features=features, resume=True, **options)


def test_tokenizer_and_positions_stay_the_teachers(teacher: Path, tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"steps": 3})
    distill(teacher, tokens=(2,), tokenizer="full", out=tmp_path, views=1, settings=short)
    student, reference = load_student(tmp_path), load_teacher(teacher)
    learned, given = student.tokenizer.state_dict(), reference.tokenizer.state_dict()
    assert all(torch.equal(learned[name], given[name]) for name in given)
    assert torch.equal(student.position.fc2.weight, reference.position.fc2.weight)
    assert not torch.equal(student.cau.enter.weight, torch.zeros(48, 48))


def test_a_teacher_is_not_written_over_by_its_student(teacher: Path) -> None:
    before = sorted(path.name for path in teacher.iterdir())
    with pytest.raises(InputError, match=r"is the folder of the model that the run starts from"):
        distill(teacher, out=teacher / ".", settings=SETTINGS)
    assert sorted(path.name for path in teacher.iterdir()) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_an_accelerator_that_is_not_there_is_named_before_anything_is_written(
    teacher: Path, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"accelerator": "cuda"})
    for run in (
        lambda: distill(teacher, out=tmp_path / "out", settings=settings),
        lambda: pretrain(None, tmp_path / "out", settings=settings),
        lambda: finetune(out=tmp_path / "out", settings=settings),
    ):
        with pytest.raises(EnvironmentFault, match="--accelerator cuda: torch finds no CUDA device"):
            run()
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"--accelerator: .*'cpu' or 'cuda', got 'tpu'"):
        checked(TrainSettings, accelerator="tpu")


def test_a_student_is_no_teacher_and_the_other_way_round() -> None:
    with pytest.raises(CheckpointError, match=r"embedded:student: is of kind student, not a teacher; give a"):
        load_teacher("embedded:student")
    with pytest.raises(CheckpointError, match=r"embedded:teacher: is of kind teacher, not a student; give a"):
        load_student("embedded:teacher")


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        distill(tmp_path / "nowhere", out=tmp_path / "out")


@pytest.fixture(scope="module")
def sticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve standing sticks and twelve plates, the halves of each as parts."""
    rng = np.random.default_rng(0)
    size = np.repeat([[0.15, 0.15, 0.5], [0.5, 0.5, 0.3]], 12, axis=0)
    points = rng.uniform(-1, 1, size=(24, 256, 3)) * size[:, None]
    path = tmp_path_factory.mktemp("data") / "sticks.npz"
    np.savez(
        path,
        points=(points * 32767).astype(np.int16),
        part=(points[..., 2] > 0).astype(np.uint8),
        part_names=np.array(["lower", "upper"]),
        label=np.repeat([0, 1], 12).astype(np.int16),
        classes=np.array(["stick", "plate"]),
        split=np.tile([0, 0, 0, 1], 6).astype(np.uint8),
    )
    return path


SHORT = SETTINGS.model_copy(update={"steps": 20, "batch": 8})
SMALL = SETTINGS.model_copy(update={"batch": 8})


@pytest.mark.parametrize("method", ["truncation", "tome"])
def test_a_baseline_goes_through_the_same_loop(
    method: str, teacher: Path, sticks: Path, tmp_path: Path
) -> None:
    report = distill(teacher, [sticks], method=method, depth=1, out=tmp_path, views=1, settings=SHORT)
    assert report.method == method
    for row in report.budgets:
        assert row.after.smooth_l1 < row.before.smooth_l1
    assert [row.tokens for row in report.budgets] == ([16] if method == "truncation" else [1, 2, 4, 8, 16])
    assert load_model(tmp_path).width == 48


@pytest.mark.parametrize("method", ["dso", "truncation"])
def test_a_light_tokenizer_learns_the_teachers_tokens(
    method: str, teacher: Path, sticks: Path, tmp_path: Path
) -> None:
    lite: dict[str, Any] = {"tokenizer": "lite", "lite_width": 8}
    report = distill(teacher, [sticks], method=method, out=tmp_path, views=2, settings=SMALL, **lite)
    for row in report.budgets:
        assert row.after.smooth_l1 < 0.7 * row.before.smooth_l1
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["token_loss"] < 0.9 * rows[0]["token_loss"]
    model = load_model(tmp_path)
    assert isinstance(model.module, Compressed)
    assert isinstance(model.module.tokenizer, LiteTokenizer)


def test_the_encoder_can_stay_the_teachers(teacher: Path, sticks: Path, tmp_path: Path) -> None:
    choices: dict[str, Any] = {"tokens": (4,), "mixing_blocks": 1, "freeze_encoder": True}
    distill(teacher, [sticks], out=tmp_path, views=1, settings=SHORT, **choices)
    student, reference = load_student(tmp_path), load_teacher(teacher)
    mine = (*student.mixing, *student.encoder.blocks)
    for block, theirs in zip(mine, reference.encoder.blocks, strict=True):
        for own, expected in zip(block.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(own, expected)
    assert not torch.equal(student.cau.enter.weight, torch.zeros(48, 48))


def test_every_log_row_reports_the_use_of_supertokens(teacher: Path, sticks: Path, tmp_path: Path) -> None:
    distill(
        teacher, [sticks], tokens=(2, 4), gate=True, merge_rate=0.5, out=tmp_path, views=1, settings=SHORT
    )
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert 0 < row["in_use"] <= 1
        assert 0 <= row["entropy"] <= 1
        assert 0 < row["merge_rate"] < 1
        assert math.isfinite(row["lambda"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert 0 <= report["budgets"][0]["usage"]["merged"] <= 1


def test_a_classification_specialist_learns_the_task_and_keeps_its_head(
    teacher: Path, sticks: Path, tmp_path: Path
) -> None:
    distill(teacher, [sticks], method="kd-classification", tokens=(4,), out=tmp_path, views=2, settings=SMALL)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    student = load_student(tmp_path)
    assert student.config.teacher.labels == ("plate", "stick")
    test = load_npz(sticks).part(TEST)
    grouped = group_shapes(test.xyz, TINY.preprocessing, 1, 0)
    with torch.no_grad():
        logits = student.classify(student(grouped.groups[:, 0].float(), grouped.centers[:, 0], 4))
    named = [student.config.teacher.labels[i] for i in logits.argmax(dim=1)]
    right = [name == test.classes[i] for name, i in zip(named, test.label, strict=True)]
    assert sum(right) >= 0.8 * len(right)


def test_a_part_specialist_learns_the_parts(teacher: Path, sticks: Path, tmp_path: Path) -> None:
    distill(teacher, [sticks], method="kd-parts", tokens=(4,), out=tmp_path, views=2, settings=SMALL)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]


def test_a_token_belongs_to_the_part_of_the_points_around_its_centre(sticks: Path) -> None:
    shapes = load_npz(sticks)
    grouped = group_shapes(shapes.xyz, TINY.preprocessing, 1, 0)
    features = torch.zeros(len(shapes), 16, 48)
    targets = TeacherTargets(features, grouped.centers[:, 0], features, Views.of(grouped, 1, 0))
    labels = part_task([shapes], targets, TINY.preprocessing).labels
    sure = grouped.centers[:, 0, :, 2].abs() > 0.3
    assert int(sure.sum()) > 50
    assert torch.equal(labels[sure], (grouped.centers[:, 0, :, 2] > 0)[sure].long())


def test_a_damaged_copy_of_the_targets_is_made_anew(teacher: Path, sticks: Path, tmp_path: Path) -> None:
    grouped = group_shapes(load_npz(sticks).xyz[:4], TINY.preprocessing, 1, 0)

    def targets() -> torch.Tensor:
        made = kept_targets(
            tmp_path, load_teacher(teacher), grouped, 1, 0, Compute(), lambda done, total: None
        )
        return made.features.clone()

    first = targets()
    (copy,) = tmp_path.glob("targets-*.pt")
    copy.write_bytes(copy.read_bytes()[:100])
    assert torch.equal(targets(), first)
    assert len(copy.read_bytes()) > 100


def test_a_part_specialist_needs_part_labels(teacher: Path, sticks: Path, tmp_path: Path) -> None:
    data = dict(np.load(sticks))
    del data["part"]
    np.savez(tmp_path / "plain.npz", **data)
    with pytest.raises(DataError, match="plain: has no part labels"):
        distill(teacher, [tmp_path / "plain.npz"], method="kd-parts", out=tmp_path, settings=SHORT)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"method": "magic"}, "--method: unknown method 'magic'"),
        ({"merge_rate": 1.5, "gate": True}, "--merge-rate: expected 0 to 1"),
        ({"merge_rate": 0.5}, "--merge-rate: means nothing without a gate"),
        ({"out": Path(__file__) / "deeper"}, "test_distill.py is a file; give a folder"),
        ({"temperature": (1.0, 0.0)}, "--temperature"),
        ({"method": "truncation", "tokens": (4,)}, "--tokens"),
        ({"tokens": (4, 65)}, "--tokens|ascending"),
    ],
)
def test_wrong_options_are_named(
    options: dict[str, Any], named: str, teacher: Path, sticks: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=named):
        distill(teacher, [sticks], **{"out": tmp_path, **options})


def test_a_run_that_fails_leaves_the_finished_one_whole(
    teacher: Path, sticks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"tokens": (2,), "out": tmp_path / "out", "views": 1}
    distill(teacher, [sticks], settings=SHORT, resume=True, **options)
    assert f"{tmp_path / 'out'} holds no checkpoint to resume from" in capsys.readouterr().err
    wild = SHORT.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(DataError, match="lower --learning-rate"):
        distill(teacher, [sticks], settings=wild, **options)
    kept = tmp_path / "out" / "previous"
    assert not (tmp_path / "out" / WEIGHTS).exists()
    assert json.loads((kept / "settings.json").read_text())["learning_rate"] == SHORT.learning_rate
    longer = SHORT.model_copy(update={"steps": SHORT.steps + 2})
    distill(teacher, [sticks], settings=longer, resume=True, **{**options, "out": kept})
    rows = [json.loads(line) for line in (kept / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == longer.steps
    assert rows[0]["step"] < SHORT.steps
