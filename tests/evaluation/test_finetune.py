"""finetune: what it writes loads again, gives the figures of its report, and resumes to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.shape_set import TEST
from foundry_edge.data.shapes import load_npz
from foundry_edge.models.load import load_model, load_part_head, load_student
from foundry_edge.models.store import WEIGHTS
from foundry_edge.training import classify
from foundry_edge.training.engine import Step
from foundry_edge.training.finetune import finetune
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import CheckpointError, InputError

SETTINGS = TrainSettings(
    batch=16, learning_rate=1e-3, precision="32-true", accelerator="cpu", checkpoint_every=5
)


def test_a_fine_tuned_student_names_the_classes_of_its_task(
    student: Path, shapes: Path, tmp_path: Path
) -> None:
    gentle = SETTINGS.model_copy(update={"learning_rate": 2e-4})
    report = finetune(student, shapes, out=tmp_path, epochs=6, settings=gentle)
    tuned = load_student(tmp_path)
    assert tuned.config.teacher.labels == ("ball", "stick", "plate")
    test = load_npz(shapes).part(TEST)
    grouped = group_shapes(test.xyz, tuned.config.teacher.preprocessing, 1, 0)
    for row in report.budgets:
        assert row.tokens is not None
        with torch.no_grad():
            features = tuned(grouped.groups[:, 0].float(), grouped.centers[:, 0], row.tokens)
            named = tuned.classify(features).argmax(dim=1).numpy()
        assert row.metrics["accuracy"] == pytest.approx(100 * float((named == test.label).mean()))
    assert report.budgets[-1].metrics["accuracy"] > 60  # by chance 33
    before = load_model(student).module.state_dict()
    after = tuned.state_dict()
    assert not torch.equal(
        before["encoder.blocks.0.mlp.fc1.weight"], after["encoder.blocks.0.mlp.fc1.weight"]
    )
    assert torch.equal(before["tokenizer.norm1.running_mean"], after["tokenizer.norm1.running_mean"])


def test_an_interrupted_run_resumes_to_the_same_bits(
    student: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune(student, shapes, out=tmp_path / "a", epochs=12, settings=SETTINGS)

    class Interrupted(classify.Classification):
        def after_step(self, step: Step) -> None:
            if step.number == 8:
                raise KeyboardInterrupt

    monkeypatch.setattr(classify, "Classification", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(student, shapes, out=tmp_path / "b", epochs=12, settings=SETTINGS)
    monkeypatch.undo()
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))
    finetune(student, shapes, out=tmp_path / "b", epochs=12, settings=SETTINGS, resume=True)
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_parts_are_learnt_and_the_head_is_kept(student: Path, parts: Path, tmp_path: Path) -> None:
    report = finetune(student, parts, "parts", out=tmp_path, tokens=(4,), epochs=12, settings=SETTINGS)
    assert report.budgets[0].metrics["instance_miou"] > 50  # naming one part everywhere gives 25
    head = load_part_head(tmp_path)
    assert head.config.categories == ("ball", "stick", "plate")
    assert head.config.allowed == ((0, 1), (2, 3), (4, 5))
    load_student(tmp_path)


def test_what_cannot_be_fine_tuned_is_refused(student: Path, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown task"):
        finetune(student, shapes, "guess", out=tmp_path)
    with pytest.raises(InputError, match="no budget of 3"):
        finetune(student, shapes, out=tmp_path, tokens=(3,))
    with pytest.raises(CheckpointError, match="no such model"):
        finetune(tmp_path / "nowhere", shapes, out=tmp_path)


def test_a_run_of_other_data_is_not_resumed(
    student: Path, teacher: Path, shapes: Path, tmp_path: Path
) -> None:
    finetune(student, shapes, out=tmp_path, epochs=1, settings=SETTINGS)
    with pytest.raises(CheckpointError, match="another model"):
        finetune(teacher, shapes, out=tmp_path, epochs=1, settings=SETTINGS, resume=True)
