"""Percentile: clip the rarest large magnitudes."""

from __future__ import annotations

import numpy as np

from foundry_edge_calibration.histogram import Histogram

KEPT = 0.9999


def threshold(histogram: Histogram) -> float:
    """The magnitude that 99.99 % of the values do not exceed (upper end of the bin that holds it)."""
    cumulative = np.cumsum(histogram.counts)
    index = int(np.searchsorted(cumulative, KEPT * histogram.values))
    return min((index + 1) * histogram.width, histogram.largest)
