"""The analytic counts against torch's own counter."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foundry_edge.models.config import VIT_TI, StudentConfig, TeacherConfig
from foundry_edge.models.macs import student_macs, teacher_macs
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher

LABELLED = TeacherConfig(depth=3, labels=("a", "b", "c"))


def _clouds() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, 64, 32, 3), torch.zeros(1, 64, 3)


@pytest.mark.parametrize("query", ["anchored", "learned"])
@pytest.mark.parametrize("count", [1, 4, 16])
def test_student(count: int, query: Literal["anchored", "learned"]) -> None:
    pytest.importorskip("onnx", reason="the inference form is part of the export extra")
    from foundry_edge_export.inference import InferenceStudent

    config = StudentConfig(teacher=LABELLED, query=query)
    module = InferenceStudent(Student(config), count)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(*_clouds())
    counted = sum(student_macs(config, count).values())
    assert counted == pytest.approx(counter.get_total_flops() / 2, rel=0.01)


def test_teacher() -> None:
    module = Teacher(LABELLED)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module.encode_groups(*_clouds())
    folding = 512 * 256 * 128  # the product of two weights, computed at every call: not per cloud
    stages = teacher_macs(LABELLED)
    counted = sum(value for stage, value in stages.items() if stage != "head")
    assert counted == pytest.approx(counter.get_total_flops() / 2 - folding, rel=0.01)


def test_stages() -> None:
    macs = student_macs(StudentConfig(teacher=VIT_TI), 4)
    assert list(macs) == ["tokenizer", "position", "dso", "encoder", "cau"]
    assert macs["tokenizer"] > sum(macs.values()) / 2  # method.md: the tokenizer is 50 to 79 % of the time
