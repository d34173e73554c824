"""A teacher and a student small enough for seconds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    preprocessing=Preprocessing(points=128, groups=16, group_size=8),
    width=48,
    depth=2,
    heads=2,
    labels=("a", "b"),
)


@pytest.fixture
def clouds() -> tuple[Tensor, Tensor]:
    """Groups (3, 16, 8, 3) and centres (3, 16, 3)."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(3, 16, 8, 3, generator=generator) * 0.1
    return groups, torch.rand(3, 16, 3, generator=generator) * 2 - 1


@pytest.fixture
def teacher(clouds: tuple[Tensor, Tensor]) -> Teacher:
    """A random teacher with calibrated batch norms."""
    torch.manual_seed(0)
    model = Teacher(TINY)
    model.tokenizer.calibrate_batch_norm(clouds[0])
    return model.requires_grad_(False)


@pytest.fixture
def student(teacher: Teacher) -> Student:
    """An elastic student that starts from the teacher."""
    torch.manual_seed(1)
    model = Student(StudentConfig(teacher=TINY, tokens=(1, 2, 4, 8)))
    model.start_from(teacher)
    return model.requires_grad_(False)
