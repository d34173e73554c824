"""Global features and the classification head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from foundry_edge.models.config import TeacherConfig


def pool(features: Tensor) -> Tensor:
    """Global feature (B, 2d) of token features (B, c, d): mean and maximum over the tokens."""
    return torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=1)


class ClassificationHead(nn.Linear):
    """Class logits from the global feature: the linear probe of Point-JEPA, section 4, or one layer more.

    Args:
        width: d.
        labels: classes.
        hidden: channels of a layer with ReLU before the linear one; 0 for none.
    """

    def __init__(self, width: int, labels: int, hidden: int = 0) -> None:
        super().__init__(hidden or 2 * width, labels)
        self.enter = nn.Linear(2 * width, hidden) if hidden else None

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits (..., labels) of global features (..., 2d)."""
        return super().forward(pooled if self.enter is None else relu(self.enter(pooled)))


def make_head(config: TeacherConfig) -> ClassificationHead | None:
    """The head that a config asks for, with random weights; None for a config without labels."""
    return ClassificationHead(config.width, len(config.labels), config.head_hidden) if config.labels else None
