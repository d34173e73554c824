"""The linear classification head: a probe folded into one linear layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from foundry_edge.evaluation.probe import fit_probe
from foundry_edge.models.heads import ClassificationHead


@torch.no_grad()
def fit_head(
    features: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], classes: int, strength: float = 0.1
) -> ClassificationHead:
    """Fit a multinomial logistic regression and fold its standardisation into weight and bias.

    Args:
        features: (M, 2d) float32 global features.
        labels: (M,) int64 in 0..classes-1, every class present.
        classes: number of classes.
        strength: inverse of the L2 penalty.
    """
    probe = fit_probe(features, labels, strength)
    scaler, regression = probe[0], probe[1]
    weight = regression.coef_ / scaler.scale_
    head = ClassificationHead(features.shape[1] // 2, classes)
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(regression.intercept_ - weight @ scaler.mean_))
    return head
