"""The baseline that any pre-training must beat: random weights with calibrated batch norms."""

from __future__ import annotations

from pathlib import Path

import torch

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.shape_set import TRAIN, ShapeSet
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.errors import DataError

SHAPES = 256


def random_teacher(config: TeacherConfig, shapes: ShapeSet, seed: int, out: Path) -> Path:
    """Write a teacher with random weights, its batch norms calibrated on training shapes.

    Args:
        config: of the teacher to compare with.
        shapes: its first 256 training shapes calibrate.
        seed: of the weights.
        out: folder of the new teacher.

    Returns:
        ``out``.

    Raises:
        DataError: ``shapes`` have no training side.
    """
    chosen = shapes.part(TRAIN).first(SHAPES)
    if not len(chosen):
        raise DataError("has no training shapes", where=shapes.name, remedy="mark some with split 0")
    torch.manual_seed(seed)
    config = config.model_copy(update={"labels": ()})
    model = Teacher(config)
    model.tokenizer.calibrate_batch_norm(
        group_shapes(chosen.xyz, config.preprocessing, 1, 0).groups[:, 0].float()
    )
    save_weights(out, config, model)
    return out
