"""The folded head is the probe; a hidden layer learns what the probe cannot."""

from __future__ import annotations

import numpy as np
import torch

from foundry_edge.measures.probe import fit_probe
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


def test_a_hidden_layer_separates_what_no_plane_does() -> None:
    rng = np.random.default_rng(0)
    features = (5 + 3 * rng.normal(size=(600, 8))).astype(np.float32)
    labels = 2 * ((features[:, 0] > 5) ^ (features[:, 1] > 5)).astype(np.int64)
    linear, hidden = fit_head(features, labels, 3), fit_head(features, labels, 3, hidden=32)
    with torch.no_grad():
        named = [head(torch.from_numpy(features)).argmax(dim=1).numpy() for head in (linear, hidden)]
    right = [float((one == labels).mean()) for one in named]
    assert right[0] < 0.7
    assert right[1] > 0.9
    assert not (named[1] == 1).any()  # without an example it is never named


def test_the_same_features_give_the_same_head() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 8)).astype(np.float32), np.arange(60) % 3
    first = fit_head(features, labels, 3, hidden=4)
    torch.manual_seed(7)
    second = fit_head(features, labels, 3, hidden=4)
    assert first.enter is not None
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
