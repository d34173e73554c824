"""A linear probe folded into one linear layer: the classification head, and the heads of specialists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.pipeline import Pipeline
from torch import nn

from foundry_edge.evaluation.probe import fit_probe
from foundry_edge.models.heads import ClassificationHead

ABSENT = 20.0
"""How far below every other bias that of a class without examples lies."""


def fit_head(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: int, strength: float = 0.1
) -> ClassificationHead:
    """Fit a multinomial logistic regression and fold its standardisation into weight and bias.

    Args:
        features: (M, 2d) float32 global features.
        labels: (M,) int64 in 0..classes-1, two classes at least; one without examples is never named.
        classes: number of classes.
        strength: inverse of the L2 penalty.
    """
    head = ClassificationHead(features.shape[1] // 2, classes)
    fold(fit_probe(features, labels, strength), head)
    return head


@torch.no_grad()
def fold(probe: Pipeline, layer: nn.Linear) -> None:
    """Make ``layer`` (features to classes) compute the decision function of a fitted probe."""
    scaler, regression = probe[0], probe[1]
    weight, bias = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row then: the difference of the two
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scaler.scale_
    bias = bias - weight @ scaler.mean_
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, float(bias.min()) - ABSENT)
    layer.weight[regression.classes_] = torch.from_numpy(weight).float()
    layer.bias[regression.classes_] = torch.from_numpy(bias).float()
