"""Linear probe on frozen features."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def fit_probe(features: Features, labels: Labels, strength: float = 0.1, iterations: int = 300) -> Pipeline:
    """Standardise and fit a multinomial logistic regression.

    Args:
        features: (M, f) float32.
        labels: (M,) int64.
        strength: inverse of the L2 penalty (scikit-learn's C).
        iterations: L-BFGS iterations at most.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=iterations))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(features, labels)
    return probe


def probe_accuracy(train: tuple[Features, Labels], test: tuple[Features, Labels]) -> float:
    """Accuracy in percent on ``test`` of a probe fitted on ``train``."""
    return 100 * float(fit_probe(*train).score(*test))
