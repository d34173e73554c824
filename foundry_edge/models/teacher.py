"""The teacher: groups to tokens Y (B, c, d)."""

from __future__ import annotations

from torch import Tensor, nn

from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.heads import ClassificationHead
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.tokenizer import Tokenizer
from foundry_edge.models.transformer import Encoder


class Teacher(nn.Module):
    """Tokenizer, positions and encoder of a Point-JEPA / Point-MAE class model.

    Batch norms always use their running statistics: pre-training calibrates them once on data, then
    treats them as fixed (which lets training use the folded tokenizer too).
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer(config.width, config.conv_bias)
        self.position = PositionalEncoding(config.width)
        self.encoder = Encoder(config.width, config.depth, config.heads, config.mlp_ratio, config.qkv_bias)
        self.head = ClassificationHead(config.width, len(config.labels)) if config.labels else None
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
        features: Tensor = self.encoder(self.tokenizer(groups), self.position(centers))
        return features
