"""Training on a GPU: what is watched and computed beforehand meets a network that lies there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.samples import load_samples
from foundry_edge.load import load_teacher
from foundry_edge.models.config import TeacherConfig
from foundry_edge.training.compute import Compute
from foundry_edge.training.distill import distill
from foundry_edge.training.pretrain import pretrain
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.targets import teacher_targets
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    preprocessing=Preprocessing(points=128, groups=16, group_size=8), width=48, depth=3, heads=2
)
SETTINGS = TrainSettings(steps=8, batch=32, accelerator="cuda", log_every=2)


@pytest.fixture(autouse=True)
def cuda_in_torch() -> None:
    """torch here is a build with CUDA."""
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")


def test_pretrain_then_distil(tmp_path: Path) -> None:
    report = pretrain(None, tmp_path / "teacher", config=TINY, epochs=2, settings=SETTINGS)
    assert report.probes["furniture"] > 100 / 19
    rows = [json.loads(line) for line in (tmp_path / "teacher" / "log.jsonl").read_text().splitlines()]
    assert any("probe_furniture" in row for row in rows)
    distilled = distill(tmp_path / "teacher", out=tmp_path / "student", tokens=(1, 4), settings=SETTINGS)
    assert all(b.after.smooth_l1 < b.before.smooth_l1 for b in distilled.budgets)


def test_targets_are_those_of_the_cpu() -> None:
    teacher = load_teacher()
    shapes = group_shapes(load_samples().xyz[:16], teacher.config.preprocessing, 1, 0)
    here, there = (
        teacher_targets(teacher, shapes, 2, 0, compute)
        for compute in (Compute(), Compute(torch.device("cuda")))
    )
    assert torch.equal(here.centers, there.centers)
    torch.testing.assert_close(there.features, here.features, atol=2e-2, rtol=1e-2)
    assert next(teacher.parameters()).device.type == "cpu"
