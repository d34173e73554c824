"""Classification heads fitted to fixed features: a linear probe, or a small network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.pipeline import Pipeline
from torch import nn
from torch.nn.functional import cross_entropy, dropout, relu

from foundry_edge.measures.probe import fit_probe
from foundry_edge.models.heads import ClassificationHead

ABSENT = 20.0
"""How far below every other bias that of a class without examples lies."""
EPOCHS, LEAST_STEPS, BATCH = 15, 500, 256
RATE, DECAY, DROPOUT = 3e-3, 0.05, 0.3
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def fit_head(features: Features, labels: Labels, classes: int, hidden: int = 0) -> ClassificationHead:
    """Fit a head to fixed features; the standardisation of the features is folded into its first layer.

    Without a hidden layer it is a multinomial logistic regression (the linear probe). With one it is trained
    by AdamW under one cycle of the learning rate, with dropout behind the layer; seeded, so that the same
    features give the same head.

    Args:
        features: (M, 2d) float32 global features.
        labels: (M,) int64 in 0..classes-1, two classes at least; one without examples is never named.
        classes: number of classes.
        hidden: channels of the hidden layer; 0 for none.
    """
    head = ClassificationHead(features.shape[1] // 2, classes, hidden)
    if head.enter is None:
        fold(fit_probe(features, labels), head)
    else:
        _train(head, head.enter, features, labels)
    return head


def _train(head: ClassificationHead, enter: nn.Linear, features: Features, labels: Labels) -> None:
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    inputs, wanted = torch.from_numpy((features - mean) / scale), torch.from_numpy(labels)
    per_epoch = -(-len(inputs) // BATCH)
    epochs = max(EPOCHS, -(-LEAST_STEPS // per_epoch))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        enter.reset_parameters()
        head.reset_parameters()
        optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, epochs * per_epoch)
        for _ in range(epochs):
            for index in torch.randperm(len(inputs)).split(BATCH):
                hidden = dropout(relu(enter(inputs[index])), DROPOUT)
                loss = cross_entropy(nn.functional.linear(hidden, head.weight, head.bias), wanted[index])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    _fold_in(enter, mean, scale)
    absent = np.setdiff1d(np.arange(head.out_features), labels)
    with torch.no_grad():
        head.weight[absent], head.bias[absent] = 0.0, head.bias.min() - ABSENT


@torch.no_grad()
def _fold_in(layer: nn.Linear, mean: Features, scale: Features) -> None:
    """Make ``layer``, which takes standardised features, take them as they are."""
    layer.weight.div_(torch.from_numpy(scale))
    layer.bias.sub_(layer.weight @ torch.from_numpy(mean))


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
