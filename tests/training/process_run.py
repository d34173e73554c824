"""Trains one objective for a few steps and writes its weights; run alone or by torchrun."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.distill import distill
from foundry_edge.training.engine import train
from foundry_edge.training.jepa import JointEmbedding
from foundry_edge.training.mae import MaskedReconstruction
from foundry_edge.training.processes import is_main_process
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    preprocessing=Preprocessing(points=128, groups=16, group_size=8), width=48, depth=2, heads=2
)
SETTINGS = TrainSettings(
    steps=4, batch=8, precision="32-true", accelerator="cpu", checkpoint_every=2, log_every=2, ema=0.5
)


def fresh_teacher() -> Teacher:
    """The same weights in every process."""
    torch.manual_seed(0)
    teacher = Teacher(TINY)
    teacher.tokenizer.calibrate_batch_norm(torch.randn(8, 16, 8, 3) * 0.1)
    return teacher


def pretrain_steps(kind: type[MaskedReconstruction] | type[JointEmbedding], out: Path) -> nn.Module:
    """A few steps on random groups."""
    generator = torch.Generator().manual_seed(0)
    groups = (torch.randn(16, 2, 16, 8, 3, generator=generator) * 0.1).half()
    data = GroupedShapes(groups, torch.rand(16, 2, 16, 3, generator=generator) * 2 - 1)
    module = kind(fresh_teacher(), data)
    rows = []
    train(module, module, len(data), SETTINGS, out / "checkpoint.pt", lambda row: rows.append(row.loss))
    if is_main_process():
        torch.save(rows, out / "losses.pt")
    return module.teacher


def main(name: str, out: Path) -> None:
    """Run ``name`` (mae, jepa or distill) and leave weights.pt in ``out``."""
    if name == "distill":
        distill(out.parent / "teacher", tokens=(1, 4), out=out, views=2, settings=SETTINGS)
        return
    module = pretrain_steps(MaskedReconstruction if name == "mae" else JointEmbedding, out)
    if is_main_process():
        torch.save(module.state_dict(), out / "weights.pt")


if __name__ == "__main__":
    if sys.argv[1] == "teacher":
        save_weights(Path(sys.argv[2]), TINY, fresh_teacher())
    else:
        main(sys.argv[1], Path(sys.argv[2]))
