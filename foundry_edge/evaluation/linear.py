"""Linear probe and linear SVM on frozen features (the protocols of Point-MAE and Point-JEPA, section 4)."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from foundry_edge.evaluation.subject import Features, Labels, Side
from foundry_edge.evaluation.validation import Classifier, judged_accuracy
from foundry_edge.measures.metrics import Metrics, mean_and_deviation
from foundry_edge.measures.probe import fit_probe
from foundry_edge_runtime.errors import DataError

PROBE_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SVM_STRENGTHS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
SVM_ITERATIONS = 2000


def linear_probe(train: Side, test: Side, seeds: tuple[int, ...]) -> Metrics:
    """Accuracy of a standardised logistic regression; the seed draws the validation split."""
    return _judged(train, test, lambda _: fit_logistic, PROBE_STRENGTHS, seeds)


def linear_svm(train: Side, test: Side, seeds: tuple[int, ...]) -> Metrics:
    """Accuracy of a standardised linear SVM, one class against the rest."""
    return _judged(train, test, _svm, SVM_STRENGTHS, seeds)


def _judged(
    train: Side,
    test: Side,
    make: Callable[[int], Classifier],
    strengths: tuple[float, ...],
    seeds: tuple[int, ...],
) -> Metrics:
    if len(np.unique(train.labels)) < 2:
        raise DataError("the training side has one class only", remedy="give a set with several classes")
    found = [judged_accuracy(train, test, make(seed), strengths, seed) for seed in seeds]
    strength = float(np.exp(np.mean([np.log(chosen) for _, chosen in found])))
    return {**mean_and_deviation("accuracy", [accuracy for accuracy, _ in found]), "strength": strength}


def fit_logistic(features: Features, labels: Labels, strength: float) -> Callable[[Features], Labels]:
    """A standardised multinomial logistic regression (scikit-learn's C is ``strength``)."""
    probe = fit_probe(features, labels, strength)
    return lambda more: np.asarray(probe.predict(more), dtype=np.int64)


def _svm(seed: int) -> Classifier:
    def fit(features: Features, labels: Labels, strength: float) -> Callable[[Features], Labels]:
        machine = LinearSVC(C=strength, dual="auto", max_iter=SVM_ITERATIONS, random_state=seed)
        model = make_pipeline(StandardScaler(), machine)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
        return lambda more: np.asarray(model.predict(more), dtype=np.int64)

    return fit
