"""The folded head is the probe."""

from __future__ import annotations

import numpy as np
import torch

from foundry_edge.evaluation.probe import fit_probe
from foundry_edge.training.head import fit_head


def test_two_classes_and_an_absent_third() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2 * 2
    features = (rng.normal(size=(60, 8)) + 3 * labels[:, None]).astype(np.float32)
    head, probe = fit_head(features, labels, 3), fit_probe(features, labels)
    with torch.no_grad():
        scores = head(torch.from_numpy(features)).softmax(dim=1).numpy()
    np.testing.assert_allclose(scores[:, [0, 2]], probe.predict_proba(features), atol=1e-4)
    assert float(scores[:, 1].max()) < 1e-4


def test_folding_the_standardisation_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = (rng.normal(size=(60, 8)) * 5 + 10 + labels[:, None]).astype(np.float32)
    head, probe = fit_head(features, labels, 3), fit_probe(features, labels)
    with torch.no_grad():
        scores = head(torch.from_numpy(features)).softmax(dim=1).numpy()
    np.testing.assert_allclose(scores, probe.predict_proba(features), atol=1e-4)
    assert float((scores.argmax(axis=1) == labels).mean()) > 0.6
