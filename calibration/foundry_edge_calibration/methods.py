"""The calibration methods by the names that --calibration-method takes."""

from __future__ import annotations

from collections.abc import Callable

from foundry_edge_calibration import entropy, minmax, mse, percentile
from foundry_edge_calibration.histogram import Histogram
from foundry_edge_runtime.errors import InputError

METHODS: dict[str, Callable[[Histogram], float]] = {
    "minmax": minmax.threshold,
    "percentile": percentile.threshold,
    "entropy": entropy.threshold,
    "mse": mse.threshold,
}
DEFAULT_METHOD = "mse"


def threshold(method: str, histogram: Histogram) -> float:
    """Clipping threshold of a tensor: magnitudes above it saturate.

    Raises:
        InputError: there is no such method.
    """
    if method not in METHODS:
        raise InputError(
            f"no calibration method {method!r}",
            where="--calibration-method",
            remedy=f"use one of {', '.join(METHODS)}",
        )
    return METHODS[method](histogram)
