"""Part segmentation: a feature-propagation head on token features."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import dropout, one_hot, relu

from foundry_edge.models.heads import pool
from foundry_edge.models.interpolate import interpolate

PART_HEAD = "part_head"
"""Folder of the head inside the folder of its model."""


class PartHeadConfig(BaseModel):
    """Sizes of a `PartHead`; config.json beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=1, description="d: width of a token")
    parts: tuple[str, ...] = Field(min_length=1, description="names of the parts")
    categories: tuple[str, ...] = Field(min_length=1, description="names of the categories")
    hidden: int = Field(256, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)


class PartHead(nn.Module):
    """Part logits of points (Point-MAE's and Point-JEPA's segmentation head, on the last block's features).

    Each point gets the token features interpolated from its three nearest centres and its own position;
    the cloud adds the mean and maximum of its tokens and the one-hot category, as in ShapeNetPart. Token
    features are standardised first (`standardise`): those of pre-trained encoders share one large component.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: PartHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("shift", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(config.width))
        self.local = nn.Linear(config.width + 3, config.hidden)
        self.cloud = nn.Linear(2 * config.width + len(config.categories), config.hidden, bias=False)
        self.middle = nn.Linear(config.hidden, config.hidden)
        self.out = nn.Linear(config.hidden, len(config.parts))

    @torch.no_grad()
    def standardise(self, tokens: Tensor) -> None:
        """Take mean and deviation of each channel from the tokens (M, c, d) of training shapes."""
        self.shift.copy_(tokens.mean(dim=(0, 1)))
        self.scale.copy_(tokens.std(dim=(0, 1)).clamp_min(1e-6))

    def forward(self, tokens: Tensor, index: Tensor, weight: Tensor, xyz: Tensor, category: Tensor) -> Tensor:
        """Logits (B, P, parts).

        Args:
            tokens: (B, c, d).
            index: (B, P, 3) nearest centres.
            weight: (B, P, 3) their weights.
            xyz: (B, P, 3) points in the model's frame.
            category: (B,) int64.
        """
        tokens = (tokens - self.shift) / self.scale
        points = torch.cat([interpolate(tokens, index, weight), xyz.to(tokens.dtype)], dim=2)
        kind = one_hot(category, len(self.config.categories)).to(tokens.dtype)
        cloud = self.cloud(torch.cat([pool(tokens), kind], dim=1))
        hidden = relu(self.local(points) + cloud[:, None])
        hidden = dropout(relu(self.middle(hidden)), self.config.dropout, self.training)
        logits: Tensor = self.out(hidden)
        return logits
