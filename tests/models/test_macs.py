"""The analytic counts against torch's own counter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foundry_edge.measures.cost import macs
from foundry_edge.models.config import VIT_TI, StudentConfig, TeacherConfig
from foundry_edge.models.macs import compressed_macs, student_macs, teacher_macs
from foundry_edge.models.methods import METHODS, make_method
from foundry_edge.models.store import save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.errors import InputError

LABELLED = TeacherConfig(depth=3, labels=("a", "b", "c"))


GROUPS = LABELLED.preprocessing.groups
FOLDING = 512 * 256 * 128
"""The product of two weights, computed at every call in training form: not per cloud."""


def _counted(run: Callable[[], object]) -> float:
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) / 2


def _clouds() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, 64, 32, 3), torch.zeros(1, 64, 3)


FORMS: list[dict[str, object]] = [
    {"query": "anchored"},
    {"query": "learned"},
    {"query": "located"},
    {"query": "located", "routing": "soft"},
    {"mixing_blocks": 1, "residual": "update"},
    {"mixing_blocks": 1, "attention_blocks": 1, "depth": 1},
    {"mixing_blocks": 1, "mlp_ratio": 1.5},
    {"mixing_blocks": 1, "mlp_ratio": 1.5, "cau_mlp": False},
    {"depth": 1, "routing": "soft"},
    {"cau_mlp": False},
    {"tokenizer": "lite", "lite_width": 16},
    {"teacher": LABELLED.model_copy(update={"head_hidden": 64})},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [1, 16])
def test_student_in_its_inference_form(count: int, form: dict[str, object]) -> None:
    pytest.importorskip("onnx", reason="the inference form is part of the export extra")
    from foundry_edge_export.inference import InferenceStudent

    config = StudentConfig.model_validate({"teacher": LABELLED, **form})
    module = InferenceStudent(Student(config), count)
    counted = _counted(lambda: module(*_clouds()))
    assert sum(student_macs(config, count).values()) == pytest.approx(counted, rel=0.01)


def test_teacher() -> None:
    module = Teacher(LABELLED)
    counted = _counted(lambda: module.encode_groups(*_clouds())) - FOLDING
    assert _body(teacher_macs(LABELLED)) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str) -> None:
    model = make_method(method, LABELLED, "", tokenizer="full")
    count = 4 if model.budgets else 0
    counted = _counted(lambda: model(*_clouds(), count)) - FOLDING
    assert _body(compressed_macs(model.config, count)) == pytest.approx(counted, rel=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_a_light_tokenizer(method: str) -> None:
    model = make_method(method, LABELLED, "", tokenizer="lite")
    count = 4 if model.budgets else 0
    counted = _counted(lambda: model(*_clouds(), count))
    assert _body(compressed_macs(model.config, count)) == pytest.approx(counted, rel=0.01)
    assert compressed_macs(model.config, count)["tokenizer"] < teacher_macs(LABELLED)["tokenizer"] / 10


def test_truncation_that_ends_as_the_student() -> None:
    plain, ended = (
        make_method("truncation", LABELLED, "", depth=2, cau_mlp=end, tokenizer="lite")
        for end in (False, True)
    )
    counted = _counted(lambda: ended(*_clouds()))
    assert _body(compressed_macs(ended.config)) == pytest.approx(counted, rel=0.01)
    assert _body(compressed_macs(ended.config)) > _body(compressed_macs(plain.config))


@pytest.mark.parametrize("bypassed", [0, 6, GROUPS])
def test_gate(bypassed: int) -> None:
    model = make_method("dso", LABELLED, "", gate=True)
    assert isinstance(model, Student)
    tokens, centers = torch.randn(1, GROUPS, LABELLED.width), _clouds()[1]
    counted = _counted(lambda: model.reconstruct(tokens, centers, 4, bypassed=bypassed))
    stages = compressed_macs(model.config, 4, bypassed)
    assert _body(stages) - stages["tokenizer"] == pytest.approx(counted, rel=0.01)


def _body(stages: dict[str, int]) -> int:
    return sum(value for stage, value in stages.items() if stage != "head")


def test_the_report_of_a_folder(teacher: Teacher, tmp_path: Path) -> None:
    save_weights(tmp_path, teacher.config, teacher)
    report = macs(tmp_path)
    assert report.budgets[0].total == report.teacher_total == sum(teacher_macs(teacher.config).values())
    assert report.as_dict()["budgets"][0]["flops"] == 2 * report.teacher_total
    assert report.parameters == sum(p.numel() for p in teacher.parameters())
    assert macs(tmp_path, groups=32).teacher_total > 2 * report.teacher_total


def test_more_groups_cost_the_student_less_than_the_teacher(student: Student, tmp_path: Path) -> None:
    save_weights(tmp_path, student.config, student)
    scene = macs(tmp_path, groups=4096)
    few, many = macs(tmp_path).budgets[0], scene.budgets[0]
    assert many.total / scene.teacher_total < 0.7 * few.total / macs(tmp_path).teacher_total
    assert many.macs["encoder"] == few.macs["encoder"]
    with pytest.raises(InputError, match="at least 8"):
        macs(tmp_path, groups=4)


def test_stages() -> None:
    stages = student_macs(StudentConfig(teacher=VIT_TI), 4)
    assert list(stages) == ["tokenizer", "position", "dso", "encoder", "cau"]
    assert (
        stages["tokenizer"] > sum(stages.values()) / 2
    )  # method.md: the tokenizer is 50 to 79 % of the time
