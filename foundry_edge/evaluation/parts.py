"""The protocol `parts`: part segmentation on frozen features, by a trained head and by a linear probe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foundry_edge.data.shape_set import TEST, TRAIN
from foundry_edge.evaluation.part_probe import probe_parts
from foundry_edge.evaluation.rungs import EvaluatedRung
from foundry_edge.evaluation.subject import Judged
from foundry_edge.evaluation.training_cache import training_folder
from foundry_edge.measures.features import Advance
from foundry_edge.measures.metrics import Metrics, mean_and_deviation
from foundry_edge.measures.miou import PartLists, part_lists, part_metrics
from foundry_edge.models.part_head import PartHead, PartHeadConfig
from foundry_edge.training.engine import train
from foundry_edge.training.parts import (
    PartData,
    PartSegmentation,
    part_data,
    part_head_config,
    predict_parts,
)
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import DataError

EPOCHS = 40.0
BATCH = 16
LEARNING_RATE = 1e-3
HIDDEN, DROPOUT = 256, 0.5
"""Of the protocol's head, as published heads have them; one that ships has fewer channels."""


def part_segmentation(
    rung: EvaluatedRung, judged: Judged, seeds: tuple[int, ...], epochs: float | None = None
) -> tuple[Metrics, int]:
    """mIoU of the test side in percent (see `part_metrics`), and its size.

    Metrics of the head have the plain names; those of a linear classifier per category on the
    interpolated token features begin with ``probe_``.

    Args:
        rung: to judge; its features are frozen.
        judged: a set with part labels.
        seeds: of the head's start and batches, and of the probe's points and validation split.
        epochs: passes over the training side; None takes 40.

    Raises:
        DataError: the set has no part labels, or a side is empty.
    """
    shapes = judged.shapes
    data = part_data(shapes, judged.grouped(rung.preprocessing), rung.preprocessing)
    fit, check = shapes.split == TRAIN, shapes.split == TEST
    if not (fit.any() and check.any()):
        raise DataError("has no training or no test side", where=shapes.name, remedy="mark both in split")
    tokens, lists = judged.tokens(rung), part_lists(shapes)
    sides = (data.where(fit), tokens[fit]), (data.where(check), tokens[check])
    config = part_head_config(shapes, rung.width, hidden=HIDDEN, dropout=DROPOUT)
    made_of = rung.digest, rung.preprocessing, config

    def folder(settings: TrainSettings) -> Path:
        return training_folder("parts", shapes, settings, *made_of)

    found = [
        {
            **_head(sides, config, lists, seed, epochs or EPOCHS, folder, judged.advance),
            **{f"probe_{name}": value for name, value in probe_parts(sides, lists, seed).items()},
        }
        for seed in seeds
    ]
    metrics: Metrics = {}
    for name in found[0]:
        metrics |= mean_and_deviation(name, [one[name] for one in found])
    return metrics, int(check.sum())


Labelled = tuple[PartData, Tensor]


def _head(
    sides: tuple[Labelled, Labelled],
    config: PartHeadConfig,
    lists: PartLists,
    seed: int,
    epochs: float,
    folder: Callable[[TrainSettings], Path],
    advance: Advance,
) -> Metrics:
    """Train a head on the first side and judge it on the second; continues a run that was interrupted."""
    (data, tokens), (test, test_tokens) = sides
    steps = max(round(epochs * len(data) / BATCH), 1)
    settings = TrainSettings(
        steps=steps,
        batch=BATCH,
        learning_rate=LEARNING_RATE,
        seed=seed,
        precision="32-true",
    )
    torch.manual_seed(seed)
    objective = PartSegmentation(PartHead(config), data, tokens)
    objective.head.standardise(tokens)
    objective.head.train()
    train(
        objective,
        objective,
        len(data),
        settings,
        folder(settings) / "head.pt",
        lambda row: advance(row.step, row.steps, f"head, seed {seed}"),
        resume=True,
    )
    objective.to("cpu")
    predicted = predict_parts(objective.head, test, test_tokens)
    return part_metrics(predicted, test.part.numpy(), np.asarray(test.category.numpy()), lists)
