"""Part segmentation: a feature-propagation head on token features."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding, linear, relu

from foundry_edge.models.heads import pool
from foundry_edge.models.interpolate import interpolate
from foundry_edge_runtime.interpolation import NEIGHBOURS

PART_HEAD = "part_head"
"""Folder of the head inside the folder of its model."""
_AXES = 3
_BARRED = -1e4  # finite: a label that its category is not said to have must not make a loss infinite


class PartHeadConfig(BaseModel):
    """Sizes of a `PartHead` and what it names; config.json beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(ge=1, description="d: width of a token")
    parts: tuple[str, ...] = Field(min_length=1, description="names of the parts")
    categories: tuple[str, ...] = Field(min_length=1, description="names of the categories")
    allowed: tuple[tuple[int, ...], ...] = Field(description="for each category the parts it may have")
    hidden: int = Field(64, ge=1, description="channels of the points")
    dropout: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _every_category_has_parts(self) -> PartHeadConfig:
        if len(self.allowed) != len(self.categories):
            raise ValueError(f"{len(self.allowed)} lists of parts for {len(self.categories)} categories")
        for name, parts in zip(self.categories, self.allowed, strict=True):
            if not parts or not set(parts) <= set(range(len(self.parts))):
                raise ValueError(
                    f"the parts {list(parts)} of {name} are not among 0 to {len(self.parts) - 1}"
                )
        return self


class PartHead(nn.Module):
    """Part logits of points (Point-MAE's and Point-JEPA's segmentation head, on the last block's features).

    Each point gets the token features interpolated from its three nearest centres and its own position;
    the cloud adds the mean and maximum of its tokens and the one-hot category, as in ShapeNetPart. Token
    features are standardised first (`standardise`): those of pre-trained encoders share one large component.

    Linear maps commute with the interpolation, so the c tokens are projected once and the hidden channels
    are interpolated; a one-hot category picks a column.
    """

    shift: Tensor
    scale: Tensor
    barred: Tensor

    def __init__(self, config: PartHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("shift", torch.zeros(config.width))
        self.register_buffer("scale", torch.ones(config.width))
        barred = torch.ones(len(config.categories), len(config.parts), dtype=torch.bool)
        for number, parts in enumerate(config.allowed):
            barred[number, list(parts)] = False
        self.register_buffer("barred", barred, persistent=False)
        self.local = nn.Linear(config.width + _AXES, config.hidden)
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
        width = self.config.width
        of_tokens, of_position = self.local.weight.split([width, _AXES], dim=1)
        of_pooled, of_kind = self.cloud.weight.split([2 * width, len(self.config.categories)], dim=1)
        cloud = linear(pool(tokens), of_pooled) + embedding(category, of_kind.t())
        points = interpolate(linear(tokens, of_tokens), index, weight)
        points = points + linear(xyz.to(tokens.dtype), of_position, self.local.bias)
        hidden = relu(points + cloud[:, None])
        hidden = dropout(relu(self.middle(hidden)), self.config.dropout, self.training)
        logits: Tensor = self.out(hidden)
        return logits

    def of_category(self, logits: Tensor, category: Tensor) -> Tensor:
        """Logits (B, P, parts); those of parts its category (B,) has not got are far below all others."""
        return logits.masked_fill(self.barred[category][:, None], _BARRED)


def part_head_macs(config: PartHeadConfig, groups: int) -> dict[str, int]:
    """Multiply-accumulates of a head: of a cloud of ``groups`` tokens, and of each of its points more."""
    hidden = config.hidden
    return {
        "cloud": (groups + 2) * config.width * hidden,
        "point": hidden * (NEIGHBOURS + _AXES + hidden + len(config.parts)),
    }
