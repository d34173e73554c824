"""Few-shot classification on frozen features (Sharma & Kaul 2020): 10 trials of each setting."""

from __future__ import annotations

import numpy as np

from foundry_edge.evaluation.linear import fit_logistic
from foundry_edge.evaluation.subject import Side
from foundry_edge.measures.metrics import Metrics, mean_and_deviation
from foundry_edge_runtime.errors import DataError

WAYS, SHOTS = (5, 10), (10, 20)
ALL_WAYS_SHOTS = 10
TRIALS = 10
QUERIES = 20
STRENGTH = 0.1
"""Fixed beforehand: the support is too small to hold out from."""


def few_shot(train: Side, test: Side, seeds: tuple[int, ...]) -> Metrics:
    """Mean and deviation of the accuracy over the trials of all seeds, in percent.

    A trial draws its classes, ``shots`` training shapes of each, and up to 20 test shapes of each as queries.
    A setting is left out when too few classes have that many training shapes. ``all_10shot`` takes every
    class (with 10 training shapes and one test shape or more) and all its test shapes.

    Raises:
        DataError: no setting is possible.
    """
    metrics: Metrics = {}
    for ways in WAYS:
        for shots in SHOTS:
            if len(_classes(train, test, shots)) >= ways:
                metrics |= _setting(f"{ways}way_{shots}shot", train, test, ways, shots, seeds)
    every = len(_classes(train, test, ALL_WAYS_SHOTS))
    if every >= 2:
        metrics |= _setting(f"all_{ALL_WAYS_SHOTS}shot", train, test, every, ALL_WAYS_SHOTS, seeds, None)
        metrics["all_classes"] = float(every)
    if not metrics:
        raise DataError(
            f"fewer than two classes have {ALL_WAYS_SHOTS} training shapes and a test shape",
            remedy="give a larger set",
        )
    return metrics


def _classes(train: Side, test: Side, shots: int) -> list[int]:
    """The classes with enough training shapes and a test shape."""
    labels, counts = np.unique(train.labels, return_counts=True)
    tested = set(test.labels.tolist())
    return [
        int(label) for label, count in zip(labels, counts, strict=True) if count >= shots and label in tested
    ]


def _setting(
    name: str,
    train: Side,
    test: Side,
    ways: int,
    shots: int,
    seeds: tuple[int, ...],
    queries: int | None = QUERIES,
) -> Metrics:
    accuracies = []
    for seed in seeds:
        for trial in range(TRIALS):
            rng = np.random.default_rng([seed, trial, ways, shots])
            accuracies.append(_trial(train, test, ways, shots, queries, rng))
    return mean_and_deviation(name, accuracies)


def _trial(
    train: Side, test: Side, ways: int, shots: int, queries: int | None, rng: np.random.Generator
) -> float:
    classes = rng.choice(_classes(train, test, shots), ways, replace=False)
    support = np.concatenate([_drawn(train, label, shots, rng) for label in classes])
    query = np.concatenate([_drawn(test, label, queries, rng) for label in classes])
    predict = fit_logistic(train.features[support], train.labels[support], STRENGTH)
    return 100 * float((predict(test.features[query]) == test.labels[query]).mean())


def _drawn(
    side: Side, label: int, count: int | None, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return rng.permutation(np.flatnonzero(side.labels == label))[:count]
