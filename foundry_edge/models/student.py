"""The SuperToken student (Foundry, arXiv 2511.20721, section 3)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from foundry_edge.models.cau import CrossAttentionUpsampling
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.dso import SupertokenAssignment
from foundry_edge.models.heads import ClassificationHead, pool
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.tokenizer import Tokenizer
from foundry_edge.models.transformer import Block, Encoder


class Student(nn.Module):
    """Tokenize, merge (DSO), encode the SuperTokens, restore (CAU).

    One set of weights serves every budget: SuperTokens are nested prefixes.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        teacher = config.teacher
        self.config = config
        self.tokenizer = Tokenizer(teacher.width, teacher.conv_bias, teacher.reduce_from)
        self.position = PositionalEncoding(teacher.width)
        self.dso = SupertokenAssignment(teacher.width, max(config.tokens), config.query)
        self.encoder = Encoder(
            teacher.width, teacher.depth, teacher.heads, teacher.mlp_ratio, teacher.qkv_bias
        )
        self.cau = CrossAttentionUpsampling(teacher.width, teacher.mlp_ratio)
        self.head = ClassificationHead(teacher.width, len(teacher.labels)) if teacher.labels else None
        self.train(False)

    def train(self, mode: bool = True) -> Student:
        """As in torch, except that the tokenizer's batch norms stay in eval mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @torch.no_grad()
    def start_from(self, teacher: Teacher) -> None:
        """Copy tokenizer, positions, encoder and head from the teacher.

        The teacher's last block starts the CAU's MLP, which takes its place at full resolution.
        """
        for mine, theirs in (
            (self.tokenizer, teacher.tokenizer),
            (self.position, teacher.position),
            (self.encoder, teacher.encoder),
        ):
            mine.load_state_dict(theirs.state_dict())
        last = cast("Block", teacher.encoder.blocks[-1])
        self.cau.mlp.load_state_dict(last.mlp.state_dict())
        self.cau.norm_mlp.load_state_dict(last.norm2.state_dict())
        nn.init.zeros_(self.cau.enter.weight)
        nn.init.zeros_(self.cau.enter.bias)
        if self.head is not None and teacher.head is not None:
            self.head.load_state_dict(teacher.head.state_dict())

    def forward(self, groups: Tensor, centers: Tensor, count: int) -> Tensor:
        """Groups (B, c, K, 3) and centres (B, c, 3) to Y_hat (B, c, d) with ``count`` SuperTokens."""
        return self.restore(self.tokenizer(groups), self.position(centers), count)[0]

    def restore(
        self, tokens: Tensor, positions: Tensor, count: int, temperature: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Tokens and positions (B, c, d) to Y_hat (B, c, d) and the assignment (B, c, s)."""
        merged, merged_positions, assignment = self.dso(tokens, positions, count, temperature)
        encoded = self.encoder.body(merged, merged_positions)
        return self.encoder.norm(self.cau(tokens, positions, encoded, assignment)), assignment

    def classify(self, features: Tensor) -> Tensor:
        """Class logits (B, labels) of features (B, c, d)."""
        if self.head is None:
            raise ValueError("this student has no classification head")
        out: Tensor = self.head(pool(features))
        return out
