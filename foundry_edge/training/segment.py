"""Part segmentation with the encoder trained too."""

from __future__ import annotations

import torch
from torch import Tensor

from foundry_edge.data.shape_set import ShapeSet
from foundry_edge.evaluation.features import token_features
from foundry_edge.models.model import Model
from foundry_edge.models.part_head import PartHead
from foundry_edge.training.parts import PartData, PartSegmentation, part_head_config
from foundry_edge.training.stages import FROZEN_SHARE, THAWED_RATE, Stages, freeze

STATISTICS = 64
"""Training shapes whose tokens give the head its mean and deviation."""


def tokens_of(model: Model, data: PartData, budget: int | None) -> Tensor:
    """Token features (M, c, d)."""
    return token_features(lambda g, c: model.encode_groups(g, c, budget), data.grouped)


def fresh_part_head(model: Model, train: PartData, shapes: ShapeSet, budget: int | None) -> PartHead:
    """A head with random weights, standardised for the model's tokens."""
    head = PartHead(part_head_config(shapes, model.width))
    chosen = torch.linspace(0, len(train) - 1, min(STATISTICS, len(train))).long()
    mask = torch.zeros(len(train), dtype=torch.bool)
    mask[chosen] = True
    head.standardise(tokens_of(model, train.where(mask.numpy()), budget))
    return head


def tune_parts(
    model: Model, head: PartHead, train: PartData, budgets: tuple[int | None, ...], stages: Stages
) -> None:
    """Train the head on the frozen network, then both (in place)."""
    objective = PartSegmentation(head, train, model=model, budgets=budgets)
    head.train()
    freeze(model.module, True)
    stages.run("frozen", objective, len(train), FROZEN_SHARE)
    freeze(model.module, False)
    stages.run("thawed", objective, len(train), 1 - FROZEN_SHARE, THAWED_RATE)
    freeze(model.module, True)
    head.eval()
