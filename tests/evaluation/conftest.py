"""A tiny teacher, its student and easy synthetic sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.groupings import group_shapes
from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.store import encoder_sha256, save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.grouping import Preprocessing

SPEC = Preprocessing(points=128, groups=16, group_size=8)
TINY = TeacherConfig(preprocessing=SPEC, width=48, depth=2, heads=2)
CLASSES = ("ball", "stick", "plate")
EXTENT = {"ball": (1.0, 1.0, 1.0), "stick": (0.15, 0.15, 1.0), "plate": (1.0, 1.0, 0.1)}
POINTS = 160


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    torch.manual_seed(0)
    model = Teacher(TINY)
    grouped = group_shapes(_clouds(8)[0], SPEC, 1, 0)
    model.tokenizer.calibrate_batch_norm(grouped.groups[:, 0].float())
    save_weights(folder, TINY, model)
    return folder


@pytest.fixture(scope="session")
def student(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student")
    config = StudentConfig(teacher=TINY, teacher_sha256=encoder_sha256(teacher), tokens=(1, 4))
    torch.manual_seed(1)
    model = Student(config)
    trained = Teacher(TINY)
    from foundry_edge.models.store import load_weights

    load_weights(teacher, trained)
    model.start_from(trained)
    save_weights(folder, config, model)
    return folder


def _clouds(each: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    clouds, labels = [], []
    for label, name in enumerate(CLASSES):
        for _ in range(each):
            xyz = rng.normal(size=(POINTS, 3))
            xyz *= np.array(EXTENT[name]) / np.linalg.norm(xyz, axis=1, keepdims=True)
            xyz += rng.normal(scale=0.05, size=xyz.shape)
            xyz -= xyz.mean(axis=0)
            clouds.append(xyz / np.linalg.norm(xyz, axis=1).max())
            labels.append(label)
    return np.array(clouds, dtype=np.float32), np.array(labels)


def write_set(path: Path, each: int = 24, **more: np.ndarray) -> Path:
    """Three classes of ``each`` shapes; a third of each is the test side."""
    xyz, labels = _clouds(each)
    arrays = {
        "points": np.round(xyz * 32767).astype(np.int16),
        "label": labels,
        "classes": np.array(CLASSES),
        "split": (np.arange(len(labels)) % 3 == 0).astype(np.uint8),
        **more,
    }
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("data") / "easy.npz")


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same shapes; the part of a point says whether it is in the upper half."""
    xyz, labels = _clouds(24)
    part = (2 * labels[:, None] + (xyz[..., 2] > 0)).astype(np.uint8)
    names = np.array([f"{name}/{half}" for name in CLASSES for half in ("lower", "upper")])
    category = np.repeat(np.arange(3), 2)
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    return write_set(path, part=part, part_names=names, part_category=category)
