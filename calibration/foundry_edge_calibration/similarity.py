"""How alike two sets of tokens are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def token_cosines(
    found: npt.NDArray[np.floating], reference: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Mean token cosine (M,) per cloud of tokens (M, c, d), in float64."""
    a, b = found.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray(((a * b).sum(axis=-1) / np.maximum(norms, 1e-30)).mean(axis=-1))
