"""Clipping thresholds against what they claim to optimise."""

from __future__ import annotations

import numpy as np
import pytest

from foundry_edge_calibration.histogram import Histogram
from foundry_edge_calibration.methods import METHODS, threshold
from foundry_edge_runtime.errors import InputError

Values = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def _histogram(values: Values) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


def _heavy(seed: int = 0) -> Values:
    return np.random.default_rng(seed).standard_t(3, size=100_000).astype(np.float32)


def _error(values: Values, limit: float) -> float:
    step = limit / 127
    rounded = np.clip(np.rint(values.astype(np.float64) / step), -127, 127) * step
    return float(np.mean((rounded - values) ** 2))


def test_minmax_is_the_largest() -> None:
    values = _heavy()
    assert threshold("minmax", _histogram(values)) == np.abs(values).max()


def test_percentile_keeps_what_it_says() -> None:
    values = _heavy()
    limit = threshold("percentile", _histogram(values))
    assert limit == pytest.approx(np.quantile(np.abs(values), 0.9999), rel=0.02)


def test_mse_is_close_to_the_best_threshold() -> None:
    values = _heavy()
    limit = threshold("mse", _histogram(values))
    best = min(_error(values, fraction * np.abs(values).max()) for fraction in np.linspace(0.01, 1, 200))
    assert _error(values, limit) <= 1.05 * best
    assert _error(values, limit) < 0.8 * _error(values, threshold("minmax", _histogram(values)))


def test_entropy_clips_a_heavy_tail_but_not_a_flat_one() -> None:
    heavy = _heavy()
    assert threshold("entropy", _histogram(heavy)) < 0.5 * np.abs(heavy).max()
    flat = np.random.default_rng(0).uniform(-1, 1, size=100_000).astype(np.float32)
    assert threshold("entropy", _histogram(flat)) > 0.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [np.zeros(10), np.ones(10), np.array([1e-20, 1e20]), np.array([5.0])])
def test_odd_tensors_give_a_finite_threshold_within_the_data(method: str, values: Values) -> None:
    values = values.astype(np.float32)
    limit = threshold(method, _histogram(values))
    assert np.isfinite(limit)
    assert 0 <= limit <= np.abs(values).max()


@pytest.mark.parametrize("method", METHODS)
def test_scaling_the_data_scales_the_threshold(method: str) -> None:
    values = _heavy()
    small, large = (
        threshold(method, _histogram(values)),
        threshold(method, _histogram(values * np.float32(8))),
    )
    assert large == pytest.approx(8 * small, rel=1e-6)


def test_unknown_method() -> None:
    with pytest.raises(InputError, match="no calibration method 'best'"):
        threshold("best", Histogram())
