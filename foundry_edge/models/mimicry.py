"""Feature mimicry (FitNets, 2015): a small narrow transformer from scratch, projected to the full width."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from foundry_edge.models.compressed import Compressed, Reconstruction
from foundry_edge.models.config import CompressedConfig
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.transformer import Encoder


class MimicryConfig(CompressedConfig):
    """Which teacher, and the size of the small transformer."""

    kind: Literal["mimicry"] = "mimicry"
    width: int = Field(96, ge=8)
    depth: int = Field(4, ge=1)
    heads: int = Field(3, ge=1)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> MimicryConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class Mimicry(Compressed):
    """Teacher's tokens to a narrow width, a few blocks on all c tokens, and back to the teacher's width.

    The tokenizer is the teacher's, frozen, as for every other method; all else starts from random weights.
    """

    config: MimicryConfig

    def __init__(self, config: MimicryConfig) -> None:
        super().__init__(config)
        outer, inner = config.teacher.width, config.width
        self.config = config
        self.norm = nn.LayerNorm(outer)
        self.enter = nn.Linear(outer, inner)
        self.narrow_position = PositionalEncoding(inner)
        self.encoder = Encoder(inner, config.depth, config.heads)
        self.leave = nn.Linear(inner, outer)
        self.train(False)

    def reconstruct(
        self, tokens: Tensor, centers: Tensor, count: int = 0, sampling: Sampling | None = None
    ) -> Reconstruction:
        """As `Compressed.reconstruct`; there is nothing to choose."""
        narrow = self.enter(self.norm(tokens))
        return Reconstruction(self.leave(self.encoder(narrow, self.narrow_position(centers))))
