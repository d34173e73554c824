"""A tiny real student with its teacher on disk, and a bundle exported from it once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.store import encoder_sha256, load_weights, save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_export import ExportReport, build, export, graph
from foundry_edge_export.precisions import PRECISIONS
from foundry_edge_runtime.grouping import Preprocessing

SPEC = Preprocessing(points=128, groups=16, group_size=8)
TINY = TeacherConfig(
    preprocessing=SPEC, width=48, depth=2, heads=2, labels=("chair", "lamp", "plant_indoors", "table")
)
BUDGETS = (1, 2, 4)


def make_models(folder: Path, seed: int = 0) -> Path:
    """Write a tiny teacher and a student of it below ``folder``; weights are exact in half precision."""
    torch.manual_seed(seed)
    teacher = Teacher(TINY)
    groups, _ = group_clouds(load_samples().xyz[:16], SPEC)
    teacher.tokenizer.calibrate_batch_norm(torch.from_numpy(groups))
    save_weights(folder / "teacher", TINY, teacher, half=True)
    load_weights(folder / "teacher", teacher)
    config = StudentConfig(teacher=TINY, tokens=BUDGETS, teacher_sha256=encoder_sha256(folder / "teacher"))
    student = Student(config)
    student.start_from(teacher)
    torch.nn.init.normal_(student.cau.enter.weight, std=0.02)
    save_weights(folder / "student", config, student, half=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Calibration ranges of earlier sessions are not found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def traced_once() -> Iterator[None]:
    """Tracing takes most of an export's time; the same student at the same size is traced once a session."""
    known: dict[tuple[str, int, int], onnx.ModelProto] = {}

    def remembered(student: Student, count: int, bypassed: int = 0) -> onnx.ModelProto:
        digest = hashlib.sha256(student.config.model_dump_json().encode())
        for name, value in student.state_dict().items():
            digest.update(name.encode() + value.numpy().tobytes())
        key = (digest.hexdigest(), count, bypassed)
        if key not in known:
            known[key] = graph.trace(student, count, bypassed)
        model = onnx.ModelProto()
        model.CopyFrom(known[key])
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "trace", remembered)
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``teacher`` and ``student``."""
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def other_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `models`, with other weights."""
    return make_models(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="session")
def exported(models: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """The whole ladder of the tiny student. Not to be changed: copy it."""
    return export(
        models / "student",
        tokens=BUDGETS,
        precision=PRECISIONS,
        out=tmp_path_factory.mktemp("out") / "bundle",
        samples=64,
        teacher=models / "teacher",
    )
