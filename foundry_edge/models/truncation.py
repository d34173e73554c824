"""Depth truncation: the first blocks of the teacher on all c tokens, the baseline to beat (method.md)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from foundry_edge.models.compressed import Compressed, Reconstruction
from foundry_edge.models.config import AllTokenConfig
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.transformer import Encoder


class TruncationConfig(AllTokenConfig):
    """Which teacher, and how many of its blocks."""

    kind: Literal["truncation"] = "truncation"
    depth: int = Field(1, ge=0, description="k: leading blocks kept; 0 leaves the tokens and the norm")

    @model_validator(mode="after")
    def _depth_fits(self) -> TruncationConfig:
        if self.depth > self.teacher.depth:
            raise ValueError(f"depth {self.depth} exceeds the teacher's {self.teacher.depth} blocks")
        return self


class Truncation(Compressed):
    """The first k blocks and the final norm; both are trained."""

    config: TruncationConfig

    def __init__(self, config: TruncationConfig) -> None:
        super().__init__(config)
        size = config.teacher
        self.config = config
        ratio = config.all_token_mlp_ratio
        self.encoder = Encoder(size.width, config.depth, size.heads, ratio, size.qkv_bias)
        self.train(False)

    @torch.no_grad()
    def start_from(self, teacher: Teacher) -> None:
        """Copy tokenizer, positions, head, the first k blocks and the norm."""
        super().start_from(teacher)
        self.encoder.start_from(teacher.encoder, range(self.config.depth))

    def reconstruct(
        self, tokens: Tensor, centers: Tensor, count: int = 0, sampling: Sampling | None = None
    ) -> Reconstruction:
        """As `Compressed.reconstruct`; there is nothing to choose."""
        return Reconstruction(self.encoder(tokens, self.position(centers).to(tokens.dtype)))
