"""Classification: a head on the pooled tokens, and the network behind it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.measures.features import global_features
from foundry_edge.measures.metrics import Metrics
from foundry_edge.models.heads import ClassificationHead, pool
from foundry_edge.models.model import Model
from foundry_edge.training.augment import random_scale
from foundry_edge.training.engine import Step
from foundry_edge.training.head import fit_head
from foundry_edge.training.stages import FROZEN_SHARE, Stages, freeze

Labels = npt.NDArray[np.int64]
SCALE = (0.6, 1.4)
SMOOTHING = 0.2
HIDDEN = 256
DROPOUT = 0.5


def mlp_head(width: int, classes: int) -> nn.Module:
    """The published head: 2d to 256 to 256 to the classes, batch norm, ReLU and dropout 0.5 between.

    A batch norm without weights comes first, because frozen features share one large component.
    """
    layers: list[nn.Module] = [nn.BatchNorm1d(2 * width, affine=False)]
    for size in (2 * width, HIDDEN):
        layers += [
            nn.Linear(size, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
        ]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, classes))


def fitted_head(
    model: Model, train: GroupedShapes, labels: Labels, classes: int, budget: int | None, hidden: int = 0
) -> ClassificationHead:
    """A head fitted to the frozen features of all variants of the training shapes (`fit_head`)."""
    variants = train.variants()
    features = [global_features(lambda g, c: model.encode_groups(g, c, budget), one) for one in variants]
    return fit_head(np.concatenate(features), np.tile(labels, len(variants)), classes, hidden)


class Classification(nn.Module):
    """Cross-entropy with label smoothing 0.2 on clouds scaled by 0.6 to 1.4 along each axis.

    Args:
        model: a network in torch.
        head: (B, 2d) to logits.
        data: training shapes.
        labels: (M,) theirs.
        budgets: each step draws one.
    """

    def __init__(
        self,
        model: Model,
        head: nn.Module,
        data: GroupedShapes,
        labels: Labels,
        budgets: tuple[int | None, ...],
    ) -> None:
        super().__init__()
        self.network, self.head = model.module, head
        self._model, self._data, self._budgets = model, data, budgets
        self._labels = torch.from_numpy(labels)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch, and the share named rightly."""
        variants = self._data.groups.shape[1]
        variant = (step.uniform() * variants).long().clamp_max(variants - 1)
        groups, centers = self._data.batch(step.index, variant)
        groups, centers, _ = random_scale(groups, centers, step, SCALE, centers)
        device = next(self.head.parameters()).device
        budget = self._budgets[int(step.generator.initial_seed() % len(self._budgets))]
        features = self._model.encode_groups(groups.to(device), centers.to(device), budget)
        logits, labels = self.head(pool(features)).float(), self._labels[step.index].to(device)
        loss = cross_entropy(logits, labels, label_smoothing=SMOOTHING)
        return loss, {"accuracy": float((logits.argmax(dim=1) == labels).float().mean())}

    def after_step(self, step: Step) -> None:
        """Nothing to do."""


def tune_classifier(
    model: Model,
    head: nn.Module,
    data: GroupedShapes,
    labels: Labels,
    budgets: tuple[int | None, ...],
    stages: Stages,
) -> None:
    """Train ``head`` on the frozen network, then both (in place).

    A head that was fitted to frozen features (`fitted_head`) has its frozen stage behind it.
    """
    objective = Classification(model, head, data, labels, budgets)
    head.train()
    if not isinstance(head, ClassificationHead):
        freeze(model.module, True)
        stages.run("frozen", objective, len(labels), FROZEN_SHARE)
    freeze(model.module, False)
    stages.run("thawed", objective, len(labels), 1 - FROZEN_SHARE)
    freeze(model.module, True)
    head.eval()


@torch.no_grad()
def judge_classifier(
    model: Model, head: nn.Module, test: GroupedShapes, labels: Labels, budget: int | None
) -> Metrics:
    """Accuracy in percent on shapes ``test`` with ``labels`` (M,)."""
    features = global_features(lambda g, c: model.encode_groups(g, c, budget), test)
    head.eval()
    named = head(torch.from_numpy(features)).argmax(dim=1).numpy()
    return {"accuracy": 100 * float((named == labels).mean())}
