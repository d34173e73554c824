"""A tiny real student, and a bundle with its graphs for scenes, exported once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.load import load_student
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_export import export
from foundry_edge_runtime.pointcloud import FloatArray
from tests.export.conftest import TINY, make_models

BUDGETS = (1, 2, 4)


def make_student(teacher: Teacher, **choices: object) -> Student:
    """A student of ``teacher`` with every part doing something."""
    torch.manual_seed(3)
    config = StudentConfig.model_validate({"teacher": teacher.config, "tokens": BUDGETS, **choices})
    student = Student(config)
    student.start_from(teacher)
    torch.nn.init.normal_(student.cau.enter.weight, std=0.02)
    if student.cau.mlp is not None:
        torch.nn.init.normal_(student.cau.mlp.fc2.weight, std=0.02)
    return student.requires_grad_(False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``teacher`` and ``hybrid``, a student with a mixing block."""
    found = make_models(tmp_path_factory.mktemp("scene-models"))
    teacher = Teacher(TINY)
    teacher.load_state_dict(_state(found / "teacher"))
    hybrid = make_student(teacher, mixing_blocks=1, residual="update")
    save_weights(found / "hybrid", hybrid.config, hybrid, half=True)
    return found


def _state(folder: Path) -> dict[str, torch.Tensor]:
    from foundry_edge.load import load_teacher

    return load_teacher(folder).state_dict()


@pytest.fixture(scope="session")
def hybrid(folder: Path) -> Student:
    return load_student(folder / "hybrid")


@pytest.fixture(scope="session")
def scene_bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("scene") / "bundle"
    export(folder / "hybrid", tokens=(4,), precision=("fp32",), out=out, scene=True)
    return out


def room(points: int, seed: int = 0) -> FloatArray:
    """A floor, two walls and shapes of the sample set, (points, 3), in metres and far from zero."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform(0, 8, size=(points, 3))
    kind = rng.integers(4, size=points)
    flat[kind == 0, 2] = 0
    flat[kind == 1, 0] = 0
    flat[kind == 2, 1] = 0
    samples = load_samples().xyz
    shape = samples[rng.integers(len(samples), size=points), rng.integers(samples.shape[1], size=points)]
    flat[kind == 3] = 4 + shape[kind == 3]
    placed: FloatArray = (flat + np.array((100.0, -50.0, 3.0))).astype(np.float32)
    return placed
