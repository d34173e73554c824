"""The student as a whole, and weights on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from foundry_edge.load import load_student, load_teacher
from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.store import CONFIG, WEIGHTS, save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.errors import CheckpointError

Clouds = tuple[Tensor, Tensor]


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_output_has_the_teachers_shape_at_every_budget(
    student: Student, teacher: Teacher, clouds: Clouds, count: int
) -> None:
    features = student(*clouds, count)
    assert features.shape == teacher.encode_groups(*clouds).shape
    assert student.classify(features).shape == (3, 2)
    assert torch.isfinite(features).all()


def test_a_cloud_does_not_depend_on_its_batch(student: Student, clouds: Clouds) -> None:
    together = student(*clouds, 4)
    alone = torch.cat(
        [student(groups[None], centers[None], 4) for groups, centers in zip(*clouds, strict=True)]
    )
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_encoder_without_positions_is_equivariant(teacher: Teacher, clouds: Clouds) -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    features = teacher.encode_groups(*clouds)
    permuted = teacher.encode_groups(clouds[0][:, order], clouds[1][:, order])
    torch.testing.assert_close(features[:, order], permuted, atol=1e-5, rtol=1e-5)


def test_weights_survive_the_disk_to_the_bit(student: Student, clouds: Clouds, tmp_path: Path) -> None:
    save_weights(tmp_path, student.config, student)
    assert torch.equal(load_student(tmp_path)(*clouds, 4), student(*clouds, 4))


def test_half_weights_are_close(teacher: Teacher, clouds: Clouds, tmp_path: Path) -> None:
    save_weights(tmp_path, teacher.config, teacher, half=True)
    restored = load_teacher(tmp_path).encode_groups(*clouds)
    assert float((restored - teacher.encode_groups(*clouds)).abs().max()) < 2e-2


def test_truncated_weights_name_the_file(student: Student, tmp_path: Path) -> None:
    save_weights(tmp_path, student.config, student)
    path = tmp_path / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=WEIGHTS):
        load_student(tmp_path)


def test_missing_weights_name_the_file(student: Student, tmp_path: Path) -> None:
    save_weights(tmp_path, student.config, student)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_student(tmp_path)


def test_a_wrong_field_is_named(student: Student, tmp_path: Path) -> None:
    save_weights(tmp_path, student.config, student)
    path = tmp_path / CONFIG
    path.write_text(path.read_text().replace('"heads": 2', '"heads": 5'))
    with pytest.raises(CheckpointError, match="teacher"):
        load_student(tmp_path)


def test_a_teacher_is_no_student(teacher: Teacher, tmp_path: Path) -> None:
    save_weights(tmp_path, teacher.config, teacher)
    with pytest.raises(CheckpointError):
        load_student(tmp_path)


@pytest.mark.parametrize("name", ["embedded:nothing", "no/such/folder"])
def test_unknown_models_are_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such"):
        load_teacher(name)


def test_configs_refuse_what_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        TeacherConfig(width=10, heads=3)
    with pytest.raises(ValueError, match="ascending"):
        StudentConfig(tokens=(4, 2))
    with pytest.raises(ValueError, match="ascending"):
        StudentConfig(tokens=(1, 65))
