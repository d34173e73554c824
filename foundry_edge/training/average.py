"""An exponential moving average of the trained weights, kept beside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Averages ``parameters`` in place of the last step's values."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self._update = get_ema_multi_avg_fn(decay)
        self.weights: list[Tensor] = [p.detach().clone() for p in parameters]

    def update(self) -> None:
        """Take one step towards the current weights."""
        self._update(self.weights, [p.detach() for p in self._parameters], 0)

    @torch.no_grad()
    def apply(self) -> None:
        """Replace the current weights by the averaged ones."""
        for parameter, weight in zip(self._parameters, self.weights, strict=True):
            parameter.copy_(weight)

    def load(self, weights: list[Tensor]) -> None:
        """Continue from saved averages.

        Raises:
            ValueError: their number differs from the parameters'.
        """
        for mine, saved in zip(self.weights, weights, strict=True):
            mine.copy_(saved)
