"""Global features and the linear classification head."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pool(features: Tensor) -> Tensor:
    """Global feature (B, 2d) of token features (B, c, d): mean and maximum over the tokens."""
    return torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=1)


class ClassificationHead(nn.Linear):
    """Class logits from the global feature; the linear probe of Point-JEPA, section 4."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__(2 * width, labels)
