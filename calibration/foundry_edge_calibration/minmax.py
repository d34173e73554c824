"""MinMax: the largest magnitude seen."""

from __future__ import annotations

from foundry_edge_calibration.histogram import Histogram


def threshold(histogram: Histogram) -> float:
    """The largest |x| seen."""
    return histogram.largest
