"""Histograms do not depend on the order or the batches of the data."""

from __future__ import annotations

import numpy as np
import pytest

from foundry_edge_calibration.histogram import BINS, Histogram


def _filled(*parts: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


def _data(seed: int, scale: float, count: int = 4000) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (np.random.default_rng(seed).standard_t(3, size=count) * scale).astype(np.float32)


def test_growing_is_exact() -> None:
    parts = [_data(seed, scale) for seed, scale in enumerate((0.01, 3.0, 0.5, 700.0))]
    together = _filled(np.concatenate(parts))
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)):
        histogram = _filled(*(parts[i] for i in order))
        assert np.array_equal(histogram.counts, together.counts)
        assert (histogram.reach, histogram.largest) == (together.reach, together.largest)


def test_counts_what_numpy_counts() -> None:
    data = _data(0, 1.0)
    histogram = _filled(data)
    expected, _ = np.histogram(np.abs(data.astype(np.float64)), bins=BINS, range=(0, histogram.reach))
    assert histogram.values == data.size == histogram.counts.sum()
    assert np.abs(histogram.counts - expected).sum() <= 2
    assert histogram.largest == np.abs(data).max()
    assert histogram.reach / 2 < histogram.largest <= histogram.reach


@pytest.mark.parametrize("value", [0.0, 1.0, 2.0, 1e-30, 3e38, -4.0])
def test_single_values(value: float) -> None:
    histogram = _filled(np.full(10, value, dtype=np.float32))
    assert histogram.largest == abs(np.float32(value))
    assert histogram.counts.sum() == 10


def test_zeros_first() -> None:
    histogram = _filled(np.zeros(5, dtype=np.float32), np.ones(5, dtype=np.float32))
    assert histogram.counts[0] == 5
    assert histogram.counts.sum() == 10


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(FloatingPointError):
        _filled(np.array([1.0, value], dtype=np.float32))
