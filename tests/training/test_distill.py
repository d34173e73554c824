"""Distillation of a tiny teacher: better than before, the same twice, to the bit after a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.load import load_student, load_teacher
from foundry_edge.models.store import WEIGHTS, save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training import distill as distill_module
from foundry_edge.training.distill import distill
from foundry_edge.training.engine import Step
from foundry_edge.training.objective import Distillation
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import CheckpointError
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
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = distill(teacher, tokens=(1, 2, 4), out=tmp_path / "a", views=2, settings=SETTINGS)
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


def test_tokenizer_and_positions_stay_the_teachers(teacher: Path, tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"steps": 3})
    distill(teacher, tokens=(2,), out=tmp_path, views=1, settings=short)
    student, reference = load_student(tmp_path), load_teacher(teacher)
    assert torch.equal(student.tokenizer.conv4.weight, reference.tokenizer.conv4.weight)
    assert torch.equal(student.position.fc2.weight, reference.position.fc2.weight)
    assert not torch.equal(student.cau.enter.weight, torch.zeros(48, 48))


def test_a_missing_teacher_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        distill(tmp_path / "nowhere", out=tmp_path / "out")
