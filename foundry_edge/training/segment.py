"""Part segmentation: a head on a frozen network, and then, unless it is to stay frozen, both."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from foundry_edge.data.groupings import cached_groupings
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet
from foundry_edge.measures.features import token_features
from foundry_edge.measures.metrics import Metrics
from foundry_edge.measures.miou import part_lists, part_metrics
from foundry_edge.models.model import Model
from foundry_edge.models.part_head import PartHead
from foundry_edge.training.claim import CACHE
from foundry_edge.training.part_views import part_views
from foundry_edge.training.parts import (
    PartData,
    PartSegmentation,
    part_data,
    part_head_config,
    predict_parts,
)
from foundry_edge.training.stages import FROZEN_SHARE, Stages, Tuning, freeze

STATISTICS = 64
"""Training shapes whose tokens give the head its mean and deviation."""
Budgets = tuple[int | None, ...]


def segmented(
    model: Model, shapes: ShapeSet, budgets: Budgets, stages: Stages, how: Tuning
) -> tuple[PartHead, list[Metrics]]:
    """Train a head, and the network with it unless that is frozen (in place).

    Returns:
        The head, and the metrics of the test side at every budget.

    Raises:
        DataError: the set has no part labels.
    """
    spec = model.preprocessing
    grouped = cached_groupings(shapes.xyz, spec, 1, 0, stages.folder / CACHE)
    data = part_data(shapes, grouped, spec)
    fit, check = (data.where(shapes.split == side) for side in (TRAIN, TEST))
    if how.views > 1:
        fit = part_views(shapes.part(TRAIN), spec, how.views, stages.settings.seed)
    head = _fresh_head(model, fit, shapes, budgets[-1], how.hidden)
    _tune(model, head, fit, budgets, stages, how.frozen)
    return head, [_judged(model, head, check, shapes, budget) for budget in budgets]


def _fresh_head(
    model: Model, train: PartData, shapes: ShapeSet, budget: int | None, hidden: int | None
) -> PartHead:
    """A head with random weights, standardised for the model's tokens."""
    choices = {} if hidden is None else {"hidden": hidden}
    head = PartHead(part_head_config(shapes, model.width, **choices))
    chosen = torch.linspace(0, len(train) - 1, min(STATISTICS, len(train))).long()
    mask = torch.zeros(len(train), dtype=torch.bool)
    mask[chosen] = True
    head.standardise(_tokens(model, train.where(mask.numpy()), budget))
    return head


def _tune(
    model: Model, head: PartHead, train: PartData, budgets: Budgets, stages: Stages, frozen: bool
) -> None:
    objective = PartSegmentation(head, train, model=model, budgets=budgets, known=True)
    head.train()
    freeze(model.module, True)
    stages.run("frozen", objective, len(train), 1.0 if frozen else FROZEN_SHARE)
    if not frozen:
        freeze(model.module, False)
        stages.run("thawed", objective, len(train), 1 - FROZEN_SHARE)
        freeze(model.module, True)
    head.eval()


def _judged(model: Model, head: PartHead, check: PartData, shapes: ShapeSet, budget: int | None) -> Metrics:
    predicted = predict_parts(head, check, _tokens(model, check, budget))
    category = np.asarray(check.category.numpy())
    return part_metrics(predicted, check.part.numpy(), category, part_lists(shapes))


def _tokens(model: Model, data: PartData, budget: int | None) -> Tensor:
    """Token features (M, c, d)."""
    return token_features(lambda g, c: model.encode_groups(g, c, budget), data.grouped)
