"""Positional encoding: an MLP on the group centres (Point-JEPA section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import gelu


class PositionalEncoding(nn.Module):
    """Centres (B, c, 3) to positions (B, c, d), added before every block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(3, 128)
        self.fc2 = nn.Linear(128, width)

    def forward(self, centers: Tensor) -> Tensor:
        """Centres (B, c, 3), normalised coordinates, to (B, c, d)."""
        out: Tensor = self.fc2(gelu(self.fc1(centers)))
        return out
