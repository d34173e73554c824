"""How the cosines of single tokens are spread, in few enough numbers to keep and to draw."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PER_DECADE = 4
DECADES = 8
BINS = PER_DECADE * DECADES


def spread(found: npt.NDArray[np.floating], reference: npt.NDArray[np.floating]) -> tuple[int, ...]:
    """Tokens in each bin of 1 - cosine, for tokens (M, c, d) and what they should be.

    Bins are a quarter of a decade wide, from 1 down to 1e-8; what is beyond counts in the outermost ones.
    """
    a, b = found.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    gap = 1 - (a * b).sum(axis=-1) / np.maximum(norms, 1e-30)
    place = np.floor(-np.log10(np.maximum(gap, 1e-30)) * PER_DECADE).clip(0, BINS - 1)
    return tuple(np.bincount(place.astype(np.int64).ravel(), minlength=BINS).tolist())
