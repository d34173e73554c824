"""MSE: the clipping threshold with the least mean squared rounding and clipping error."""

from __future__ import annotations

import numpy as np

from foundry_edge_calibration.histogram import Histogram

LEVELS = 127
_CANDIDATES = 128


def threshold(histogram: Histogram) -> float:
    """The threshold, of 128 evenly spaced ones, whose INT8 grid is closest to the values seen."""
    used = histogram.used
    centres = (np.arange(used) + 0.5) * histogram.width
    counts = histogram.counts[:used].astype(np.float64)
    best, least = histogram.largest, np.inf
    for fraction in np.arange(_CANDIDATES, 0, -1) / _CANDIDATES:
        step = histogram.largest * fraction / LEVELS
        if not step:
            break
        error = np.minimum(np.rint(centres / step), LEVELS) * step - centres
        total = float(counts @ (error * error))
        if total < least:
            best, least = step * LEVELS, total
    return best
