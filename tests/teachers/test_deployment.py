"""Students of imported teachers: Point-BERT's tokenizer and cls token reach students and graphs."""

from __future__ import annotations

import torch
from torch import Tensor

from foundry_edge import load_teacher
from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.evaluation.rungs import open_rungs
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.macs import teacher_macs
from foundry_edge.models.student import Student
from foundry_edge.training.compute import Compute
from foundry_edge.training.targets import teacher_targets
from foundry_edge_export.inference import InferenceStudent
from tests.teachers import published
from tests.teachers.conftest import Save


@torch.no_grad()
def test_a_student_of_point_bert_deploys_as_it_computes(save: Save, clouds: tuple[Tensor, Tensor]) -> None:
    teacher = load_teacher(save(published.point_bert()[1]), heads=published.HEADS)
    student = Student(StudentConfig(teacher=teacher.config, tokens=(4,)))
    student.start_from(teacher)
    assert torch.equal(student.tokenizer(clouds[0]), teacher.tokenizer(clouds[0]))
    deployed = InferenceStudent(student, 4)(*clouds)[0]
    torch.testing.assert_close(deployed, student(*clouds, 4), atol=1e-5, rtol=0)


def test_targets_are_those_of_the_whole_teacher(save: Save, clouds: tuple[Tensor, Tensor]) -> None:
    """Cached targets pass the cls token through the encoder too, and leave it out of the features."""
    reference, checkpoint = published.point_bert()
    teacher = load_teacher(save(checkpoint), heads=published.HEADS)
    groups = clouds[0].half()
    data = GroupedShapes(groups[:, None], clouds[1][:, None])
    config = teacher.config.model_copy(
        update={"preprocessing": teacher.config.preprocessing.model_copy(update={"groups": 16})}
    )
    teacher.config = config
    targets = teacher_targets(teacher, data, 1, 0, Compute())
    expected = reference(groups.float(), clouds[1])
    torch.testing.assert_close(targets.features.float(), expected, atol=5e-3, rtol=0)


def test_a_published_file_is_evaluated_as_it_is(save: Save, clouds: tuple[Tensor, Tensor]) -> None:
    path = save(published.point_jepa()[1])
    (rung,) = open_rungs(path)
    expected = load_teacher(path).encode_groups(*clouds)
    assert torch.equal(rung.encode(*clouds), expected)
    assert rung.digest != open_rungs(save(published.point2vec()[1]))[0].digest


def test_macs_count_the_reduction_and_the_cls_token(save: Save) -> None:
    plain = load_teacher(save(published.point_mae()[1]), heads=3).config
    reduced = load_teacher(save(published.point_bert()[1]), heads=3).config
    spec, width = plain.preprocessing, published.WIDTH
    tokenizer, encoder = (teacher_macs(reduced)[s] - teacher_macs(plain)[s] for s in ("tokenizer", "encoder"))
    assert tokenizer == spec.groups * (spec.group_size * 512 * (32 - width) + 32 * width)
    both = 2 * spec.groups + 1  # (c + 1)^2 - c^2
    assert encoder == published.DEPTH * (12 * width * width + 2 * width * both)
