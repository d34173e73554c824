"""The gate's regulariser, -lambda * mean(pi), with a lambda that finds itself (Foundry section 3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foundry_edge.training.processes import mean_over_processes

GAIN = 4.0
INTEGRAL = 0.05


class MergeRate(nn.Module):
    """Holds the mean merge probability at a target.

    A fixed lambda is delicate: a little too small and nothing merges, too large and all does, and the right
    one depends on the scale of the loss. Here lambda is counted in units of the loss itself and set by a
    proportional-integral controller on the merge rate; it may be negative.

    Args:
        target: share of the tokens to merge, 0..1.
    """

    price: Tensor
    integral: Tensor
    rate: Tensor

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("price", torch.zeros(()))
        self.register_buffer("integral", torch.zeros(()))
        self.register_buffer("rate", torch.tensor(target))

    def penalty(self, merge: Tensor, scale: Tensor) -> Tensor:
        """-lambda * scale * mean(pi) of merge probabilities (B, c); ``scale`` is the loss of all."""
        self.rate = mean_over_processes(merge.detach().float().mean())
        return -self.price * scale * merge.float().mean()

    def adapt(self) -> None:
        """Set lambda from how far the last batch was from the target."""
        missing = self.target - self.rate
        self.integral = self.integral + INTEGRAL * missing
        self.price = GAIN * missing + self.integral
