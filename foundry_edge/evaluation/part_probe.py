"""The linear probe of part segmentation: a linear classifier per category on interpolated features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foundry_edge.evaluation.linear import fit_logistic
from foundry_edge.evaluation.subject import Features, Labels, Side
from foundry_edge.evaluation.validation import validation_mask
from foundry_edge.measures.metrics import Metrics
from foundry_edge.measures.miou import PartLists, part_metrics
from foundry_edge.models.interpolate import interpolate
from foundry_edge.training.parts import PartData

Predict = Callable[[Features], Labels]

POINTS_PER_CATEGORY = 4096
STRENGTHS = (0.001, 0.01, 0.1)


def probe_parts(
    sides: tuple[tuple[PartData, Tensor], tuple[PartData, Tensor]], lists: PartLists, seed: int
) -> Metrics:
    """Fit on the training side, judge on the test side (`part_metrics`).

    Features are token features (d) interpolated to the points, nothing else; a category is fitted on 4096
    points at most, drawn evenly from its shapes. The penalty is chosen on held-out training shapes.

    Args:
        sides: data and token features (M, c, d) of the training and the test side.
        lists: of the set.
        seed: of points and held-out shapes.
    """
    (data, tokens), (test, test_tokens) = sides
    predicted = np.zeros(test.part.shape, dtype=np.int64)
    for category in np.unique(test.category.numpy()).tolist():
        rows = np.flatnonzero(data.category.numpy() == category)
        asked = np.flatnonzero(test.category.numpy() == category)
        if not len(rows):
            predicted[asked] = lists.allowed[category][0]
            continue
        predict = _fitted(*_drawn(data, tokens, rows, np.random.default_rng([seed, category])), seed)
        for row in asked:
            predicted[row] = predict(_features(test, test_tokens, np.array([row]))[0])
    return part_metrics(predicted, test.part.numpy(), np.asarray(test.category.numpy()), lists)


def _features(data: PartData, tokens: Tensor, rows: npt.NDArray[np.int64]) -> Features:
    """(M, P, d) float32."""
    index = torch.from_numpy(rows)
    return np.asarray(interpolate(tokens[index], data.index[index], data.weight[index]).numpy())


def _drawn(
    data: PartData, tokens: Tensor, rows: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[Side, npt.NDArray[np.int64]]:
    """Points of the shapes ``rows`` and the number of the shape that each is from."""
    share = max(POINTS_PER_CATEGORY // len(rows), 1)
    features, labels = [], []
    for row in rows:
        chosen = rng.choice(data.part.shape[1], min(share, data.part.shape[1]), replace=False)
        features.append(_features(data, tokens, np.array([row]))[0, chosen])
        labels.append(data.part[row].numpy()[chosen])
    owner = np.repeat(np.arange(len(rows)), [len(part) for part in labels])
    return Side(np.concatenate(features), np.concatenate(labels)), owner


def _fitted(side: Side, owner: npt.NDArray[np.int64], seed: int) -> Predict:
    shapes = validation_mask(np.zeros(int(owner.max()) + 1, dtype=np.int64), seed)
    held_out = shapes[owner]
    best = STRENGTHS[1]
    if held_out.any():
        scores = [_score(side, held_out, strength) for strength in STRENGTHS]
        best = STRENGTHS[int(np.argmax(scores))]
    return _classifier(side.features, side.labels, best)


def _score(side: Side, held_out: npt.NDArray[np.bool_], strength: float) -> float:
    predict = _classifier(side.features[~held_out], side.labels[~held_out], strength)
    return float((predict(side.features[held_out]) == side.labels[held_out]).mean())


def _classifier(features: Features, labels: Labels, strength: float) -> Predict:
    """A logistic regression; where all points have one part, that part."""
    only = np.unique(labels)
    if len(only) == 1:
        return lambda more: np.full(len(more), only[0], dtype=np.int64)
    return fit_logistic(features, labels, strength)
