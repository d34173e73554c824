"""finetune: what it writes loads again, gives the figures of its report, and resumes to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.shape_set import TEST
from foundry_edge.data.shapes import load_npz
from foundry_edge.load import ASSETS, load_model, load_part_head, load_student
from foundry_edge.models.store import CONFIG, WEIGHTS
from foundry_edge.training import classify
from foundry_edge.training.engine import Step
from foundry_edge.training.finetune import finetune, labelled
from foundry_edge.training.part_views import part_views
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import CheckpointError, DataError, InputError
from foundry_edge_runtime.grouping import Preprocessing

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
    assert tuned.config.teacher.head_hidden == 0
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
    report = finetune(student, parts, "parts", out=tmp_path, tokens=(4,), epochs=6, settings=SETTINGS)
    assert report.budgets[0].metrics["instance_miou"] > 50  # naming one part everywhere gives 25
    head = load_part_head(tmp_path)
    assert head.config.categories == ("ball", "stick", "plate")
    assert head.config.allowed == ((0, 1), (2, 3), (4, 5))
    load_student(tmp_path)


def test_a_frozen_model_keeps_its_files_and_gets_one_head_for_all_budgets(
    student: Path, parts: Path, tmp_path: Path
) -> None:
    report = finetune(
        student, parts, "parts", out=tmp_path, epochs=12, frozen=True, views=3, hidden=24, settings=SETTINGS
    )
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / name).read_bytes() == (student / name).read_bytes()
    assert load_part_head(tmp_path).config.hidden == 24
    assert [row.tokens for row in report.budgets] == [1, 4]
    assert all(row.metrics["instance_miou"] > 50 for row in report.budgets)  # naming one part everywhere: 25


def test_a_frozen_classifier_is_the_linear_probe(student: Path, shapes: Path, tmp_path: Path) -> None:
    finetune(student, shapes, out=tmp_path, frozen=True, settings=SETTINGS)
    before, after = load_student(student).state_dict(), load_student(tmp_path).state_dict()
    assert set(after) - set(before) == {"head.weight", "head.bias"}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_head_with_a_hidden_layer_that_saw_views_knows_them(
    student: Path, shapes: Path, tmp_path: Path
) -> None:
    """All of them lie along x: a head that saw them only so takes turned ones for something else."""
    lying = load_npz(shapes)
    lying = replace(lying, xyz=np.ascontiguousarray(lying.xyz[..., [2, 1, 0]]))
    found = {}
    for views in (1, 4):
        out = tmp_path / str(views)
        report = finetune(student, lying, out=out, frozen=True, views=views, hidden=16, settings=SETTINGS)
        found[views] = report.budgets[-1].metrics
        assert set(found[views]) == {"accuracy", "turned", "turned_one_side"}
        assert load_student(out).config.teacher.head_hidden == 16
    assert found[4]["turned"] > found[1]["turned"]


def test_views_show_shapes_turned_and_from_one_side(parts: Path) -> None:
    shapes = load_npz(parts).first(5)
    data = part_views(shapes, Preprocessing(points=128, groups=16, group_size=8), views=3, seed=0)
    plain, seen, turned = (data.where(np.arange(15) // 5 == view) for view in range(3))
    labels = shapes.part_label
    assert labels is not None
    np.testing.assert_array_equal(plain.part, labels)
    np.testing.assert_array_equal(turned.part, labels)
    np.testing.assert_allclose(turned.xyz[..., 2], plain.xyz[..., 2], atol=1e-5)
    assert not np.allclose(turned.xyz[..., 0], plain.xyz[..., 0], atol=0.1)
    assert set(np.unique(seen.part)) <= {-1, *np.unique(labels)}
    assert (seen.category == plain.category).all()
    for part, category in zip(seen.part.numpy(), seen.category.numpy(), strict=True):
        assert set(part[part >= 0] // 2) == {category}  # of the shape itself: points kept their labels


def test_what_cannot_be_fine_tuned_is_refused(student: Path, shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown task"):
        finetune(student, shapes, "guess", out=tmp_path)
    with pytest.raises(InputError, match="no budget of 3"):
        finetune(student, shapes, out=tmp_path, tokens=(3,))
    with pytest.raises(CheckpointError, match="no such model"):
        finetune(tmp_path / "nowhere", shapes, out=tmp_path)


def test_one_class_cannot_be_learned_but_its_parts_can(student: Path, parts: Path, tmp_path: Path) -> None:
    known = load_npz(parts)
    one = replace(known.where(known.label == 0), name="balls")
    with pytest.raises(DataError, match="balls: its training side shows one class only"):
        finetune(student, one, out=tmp_path / "classes", settings=SETTINGS)
    assert labelled(one, 1).classes == known.classes
    assert not (tmp_path / "classes").exists()


def test_a_model_is_not_written_over_itself(student: Path, shapes: Path, tmp_path: Path) -> None:
    before = (student / WEIGHTS).read_bytes()
    for name, out in ((student, student / "part_head" / ".."), ("embedded:student", ASSETS / "student")):
        with pytest.raises(
            InputError, match=r"--out .*: is the folder of the model that the run starts from"
        ):
            finetune(name, shapes, out=out, settings=SETTINGS)
    assert (student / WEIGHTS).read_bytes() == before
    assert not (student / "run.json").exists()


def test_a_model_that_is_there_is_kept(
    student: Path, shapes: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(student, shapes, out=tmp_path, frozen=True, views=1, settings=SETTINGS)
    assert capsys.readouterr().err == ""
    written = (tmp_path / WEIGHTS).read_bytes()
    finetune(student, parts, "parts", out=tmp_path, epochs=1, frozen=True, views=1, settings=SETTINGS)
    assert f"it is moved to {tmp_path / 'previous'}" in capsys.readouterr().err
    assert (tmp_path / "previous" / WEIGHTS).read_bytes() == written != (tmp_path / WEIGHTS).read_bytes()
    assert not (tmp_path / "previous" / "part_head" / WEIGHTS).exists()
    finetune(
        student, parts, "parts", out=tmp_path, epochs=1, frozen=True, views=1, settings=SETTINGS, resume=True
    )
    assert "previous" not in capsys.readouterr().err
    load_student(tmp_path / "previous")


def test_a_run_of_other_data_is_not_resumed(
    student: Path, teacher: Path, shapes: Path, tmp_path: Path
) -> None:
    finetune(student, shapes, out=tmp_path, epochs=1, settings=SETTINGS)
    before = (tmp_path / WEIGHTS).read_bytes()
    with pytest.raises(CheckpointError, match="another model"):
        finetune(teacher, shapes, out=tmp_path, epochs=1, settings=SETTINGS, resume=True)
    with pytest.raises(CheckpointError, match=r"another tokens: \[1, 4\], now \[1\]"):
        finetune(student, shapes, out=tmp_path, tokens=(1,), epochs=1, settings=SETTINGS, resume=True)
    known = load_npz(shapes)
    for change in (
        {"label": (known.label + 1) % 3},
        {"split": 1 - known.split},
        {"xyz": known.xyz[:, ::-1]},
        {"classes": ("ball", "stick", "cube")},
    ):
        other = replace(known, **change)
        with pytest.raises(CheckpointError, match="another data_sha256"):
            finetune(student, other, out=tmp_path, epochs=1, settings=SETTINGS, resume=True)
    assert (tmp_path / WEIGHTS).read_bytes() == before


def test_checkpoints_of_an_earlier_run_are_gone_once_another_begins(
    student: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finetune(student, shapes, out=tmp_path, epochs=4, settings=SETTINGS)
    assert (tmp_path / "thawed.pt").is_file()
    (tmp_path / "other.pt").write_bytes(b"of somebody else")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("foundry_edge.training.finetune.tune_classifier", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(student, shapes, out=tmp_path, tokens=(1,), epochs=4, settings=SETTINGS)
    assert [path.name for path in tmp_path.glob("*.pt")] == ["other.pt"]
