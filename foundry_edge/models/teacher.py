"""The teacher: groups to tokens Y (B, c, d)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.heads import make_head
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.tokenizer import Tokenizer
from foundry_edge.models.transformer import Encoder


class Teacher(nn.Module):
    """Tokenizer, positions and encoder of a Point-JEPA / Point-MAE class model.

    Batch norms always use their running statistics: pre-training calibrates them once on data, then
    treats them as fixed (which lets training use the folded tokenizer too). With ``config.cls_token`` the
    encoder also sees a learned token (Point-BERT); its output is no part of the features.
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer(config.width, config.conv_bias, config.reduce_from)
        self.position = PositionalEncoding(config.width)
        self.encoder = Encoder(config.width, config.depth, config.heads, config.mlp_ratio, config.qkv_bias)
        self.cls_token, self.cls_position = (
            nn.Parameter(torch.zeros(1, 1, config.width)) if config.cls_token else None for _ in range(2)
        )
        self.head = make_head(config)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        """As in torch, except that the tokenizer's batch norms stay in eval mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, groups: Tensor, centers: Tensor) -> Tensor:
        """Same as `encode_groups`."""
        return self.encode_groups(groups, centers)

    def encode_groups(self, groups: Tensor, centers: Tensor) -> Tensor:
        """Groups (B, c, K, 3), relative to their centre, and centres (B, c, 3) to features (B, c, d)."""
        return self.encode_tokens(self.tokenizer(groups), self.position(centers))

    def encode_tokens(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens and positions (B, c, d) to features (B, c, d)."""
        extra = 0
        if self.cls_token is not None and self.cls_position is not None:
            extra = 1
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
            positions = torch.cat([self.cls_position.expand(len(positions), -1, -1), positions], dim=1)
        features: Tensor = self.encoder(tokens, positions)
        return features[:, extra:]
