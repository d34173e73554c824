"""Entropy: the clipping threshold with the least Kullback-Leibler divergence (Migacz, TensorRT, 2017)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_calibration.histogram import Histogram

LEVELS = 128
_STRIDE = 32


def threshold(histogram: Histogram) -> float:
    """The threshold whose clipped distribution its 128-level quantisation tells apart least."""
    used = histogram.used
    counts = histogram.counts.astype(np.float64)
    counts[0] = 0.0  # exact zeros say nothing about the scale
    ends = [end for end in range(LEVELS, used, _STRIDE) if counts[:end].any()]
    if not ends:
        return histogram.largest
    best = min(ends, key=lambda end: _divergence(counts[:used], end))
    whole = _divergence(counts[:used], used) if used >= LEVELS else np.inf
    return histogram.largest if whole <= _divergence(counts[:used], best) else best * histogram.width


def _divergence(counts: npt.NDArray[np.float64], end: int) -> float:
    """KL divergence of the first ``end`` bins, outliers folded into the last, from their quantised form."""
    kept = counts[:end]
    reference = kept.copy()
    reference[-1] += counts[end:].sum()
    level = np.arange(end) * LEVELS // end
    mass = np.bincount(level, weights=kept, minlength=LEVELS)
    filled = np.bincount(level, weights=kept > 0, minlength=LEVELS)
    spread = np.where(kept > 0, (mass / np.maximum(filled, 1))[level], 0.0)
    p, q = reference / reference.sum(), spread / max(spread.sum(), 1e-30)
    present = p > 0
    return float(np.sum(p[present] * np.log(p[present] / np.maximum(q[present], 1e-12))))
