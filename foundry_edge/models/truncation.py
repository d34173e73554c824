"""Depth truncation: the first blocks of the teacher on all c tokens, the baseline to beat."""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor

from foundry_edge.models.cau import CrossAttentionUpsampling
from foundry_edge.models.compressed import Compressed, Reconstruction
from foundry_edge.models.config import AllTokenConfig
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.transformer import Block, Encoder


class TruncationConfig(AllTokenConfig):
    """Which teacher, and how many of its blocks."""

    kind: Literal["truncation"] = "truncation"
    depth: int = Field(1, ge=0, description="k: leading blocks kept; 0 leaves the tokens and the norm")
    cau_mlp: bool = Field(False, description="whether it ends in CAU's map and MLP, as the student does")

    @model_validator(mode="after")
    def _depth_fits(self) -> TruncationConfig:
        if self.depth > self.teacher.depth:
            raise ValueError(f"depth {self.depth} exceeds the teacher's {self.teacher.depth} blocks")
        return self


class Truncation(Compressed):
    """The first k blocks and the final norm, between them CAU's maps if asked for; all are trained."""

    config: TruncationConfig

    def __init__(self, config: TruncationConfig) -> None:
        super().__init__(config)
        size = config.teacher
        self.config = config
        ratio = config.all_token_mlp_ratio
        self.encoder = Encoder(size.width, config.depth, size.heads, ratio, size.qkv_bias)
        self.cau = CrossAttentionUpsampling(size.width, ratio) if config.cau_mlp else None
        self.train(False)

    @torch.no_grad()
    def start_from(self, teacher: Teacher) -> None:
        """Copy tokenizer, positions, head, the first k blocks and the norm; CAU starts silent."""
        super().start_from(teacher)
        self.encoder.start_from(teacher.encoder, range(self.config.depth))
        if self.cau is not None:
            self.cau.start_from(cast("Block", teacher.encoder.blocks[-1]), silent=True)

    def reconstruct(
        self, tokens: Tensor, centers: Tensor, count: int = 0, sampling: Sampling | None = None
    ) -> Reconstruction:
        """As `Compressed.reconstruct`; there is nothing to choose."""
        tokens = self.encoder.body(tokens, self.position(centers).to(tokens.dtype))
        if self.cau is not None:
            tokens = self.cau(tokens, tokens)
        return Reconstruction(self.encoder.norm(tokens))
