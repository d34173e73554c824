"""Any model folder behind one protocol."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from foundry_edge.load import load_model, load_student
from foundry_edge.models.store import CONFIG, save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.errors import CheckpointError, InputError

Clouds = tuple[Tensor, Tensor]


def test_a_teacher_has_no_budgets(teacher: Teacher, clouds: Clouds, tmp_path: Path) -> None:
    save_weights(tmp_path, teacher.config, teacher)
    model = load_model(tmp_path)
    assert (model.name, model.budgets, model.width) == (str(tmp_path), (), 48)
    assert model.preprocessing == teacher.config.preprocessing
    assert torch.equal(model.encode_groups(*clouds), teacher.encode_groups(*clouds))
    with pytest.raises(InputError, match="leave --tokens out"):
        model.encode_groups(*clouds, tokens=4)


def test_a_student_takes_its_largest_budget_unless_told(
    student: Student, clouds: Clouds, tmp_path: Path
) -> None:
    save_weights(tmp_path, student.config, student)
    model = load_model(tmp_path)
    assert model.budgets == (1, 2, 4, 8)
    assert torch.equal(model.encode_groups(*clouds), student(*clouds, 8))
    assert torch.equal(model.encode_groups(*clouds, tokens=2), student(*clouds, 2))
    with pytest.raises(InputError, match="1, 2, 4, 8"):
        model.encode_groups(*clouds, tokens=3)


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"kind": "hamster"}')
    with pytest.raises(CheckpointError, match="hamster"):
        load_model(tmp_path)


def test_more_groups_than_points_are_refused(teacher: Teacher, tmp_path: Path) -> None:
    save_weights(tmp_path, teacher.config, teacher)
    config = json.loads((tmp_path / CONFIG).read_text())
    config["preprocessing"]["groups"] = 100_000
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="groups 100000 exceeds the 128 points of a cloud"):
        load_model(tmp_path)


def test_the_embedded_models_load() -> None:
    assert load_model("embedded:teacher").budgets == ()
    assert load_model("embedded:student").budgets == (1, 2, 4, 8, 16)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(student: Student, tmp_path: Path, value: float) -> None:
    broken = copy.deepcopy(student)
    broken.cau.enter.weight.data[0, 0] = value
    save_weights(tmp_path, student.config, broken)
    for load in (load_model, load_student):
        with pytest.raises(CheckpointError, match=r"safetensors: weights are not finite: tensor cau\.enter"):
            load(tmp_path)


def test_a_config_that_is_a_folder_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(CheckpointError, match=r"config.json: is a folder, expected a file; "):
        load_model(tmp_path)
