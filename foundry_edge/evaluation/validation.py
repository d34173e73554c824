"""A validation split of the training side: where every hyper-parameter is chosen, never on test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from foundry_edge.evaluation.subject import Features, Labels, Side

SHARE = 0.2
Classifier = Callable[[Features, Labels, float], Callable[[Features], Labels]]
"""Features, labels and a strength to a function that predicts labels."""


def validation_mask(labels: Labels, seed: int, share: float = SHARE) -> npt.NDArray[np.bool_]:
    """Which training samples validate: of each class of at least two, ``share``, at least one."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = max(round(share * len(members)), 1) if len(members) > 1 else 0
        mask[members[:count]] = True
    return mask


def chosen_strength(train: Side, fit: Classifier, strengths: Sequence[float], seed: int) -> float:
    """The strength whose classifier is the most accurate on the validation split; ties go to the weakest.

    Args:
        train: the training side.
        fit: makes a classifier.
        strengths: inverse penalties, ascending.
        seed: of the split.
    """
    held_out = validation_mask(train.labels, seed)
    if not held_out.any():
        return strengths[len(strengths) // 2]
    scores = []
    for strength in strengths:
        predict = fit(train.features[~held_out], train.labels[~held_out], strength)
        scores.append(float((predict(train.features[held_out]) == train.labels[held_out]).mean()))
    return strengths[int(np.argmax(scores))]


def judged_accuracy(
    train: Side, test: Side, fit: Classifier, strengths: Sequence[float], seed: int
) -> tuple[float, float]:
    """Accuracy in percent on ``test`` of the classifier chosen and fitted on ``train``, and its strength."""
    strength = chosen_strength(train, fit, strengths, seed)
    predict = fit(train.features, train.labels, strength)
    return 100 * float((predict(test.features) == test.labels).mean()), strength
