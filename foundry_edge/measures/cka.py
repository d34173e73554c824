"""Linear centred kernel alignment (Kornblith et al. 2019, eq. 5)."""

from __future__ import annotations

from torch import Tensor


def linear_cka(features: Tensor, reference: Tensor) -> float:
    """Similarity, 0 to 1, of two representations of the same samples, blind to rotation and scale.

    Args:
        features: (n, p).
        reference: (n, q).

    Returns:
        ||Y'X||^2 / (||X'X|| ||Y'Y||) of the centred features, computed in float64; 0 when either is constant.
    """
    x, y = (part.double() - part.double().mean(dim=0) for part in (features, reference))
    scale = (x.T @ x).norm() * (y.T @ y).norm()
    return float((y.T @ x).norm() ** 2 / scale) if float(scale) > 0 else 0.0
