"""A light tokenizer, learned from the teacher's: groups to tokens for a few per cent of the products.

On objects the full tokenizer is three quarters of a student and more, whatever the number of SuperTokens
(docs/method.md). This one is a PointNet (Qi et al. 2017) per group, narrow where it runs on every point and
wide only where it runs once per group. Joining the group's maximum to each point, as the full one does,
cost twice the products for tokens that were no closer to the teacher's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

COORDINATE_SCALE = 10.0
"""Groups have a radius of about 0.1 in the unit ball; this brings coordinates to the order of 1."""


class LiteTokenizer(nn.Module):
    """Point-wise 3-h-2h, maximum over the group, then 2h-8h-d.

    There is no normalisation to fold: training, evaluation and export compute the same.

    Args:
        width: d.
        hidden: h.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(3, hidden)
        self.point = nn.Linear(hidden, 2 * hidden)
        self.group = nn.Linear(2 * hidden, 8 * hidden)
        self.leave = nn.Linear(8 * hidden, width)

    @torch.no_grad()
    def start_from(self, other: LiteTokenizer) -> None:
        """Compute what a tokenizer as wide or narrower does: channels that it has not feed nothing yet."""
        layers = zip(self.children(), other.children(), strict=True)
        for mine, theirs in cast("Iterator[tuple[nn.Linear, nn.Linear]]", layers):
            rows, columns = theirs.weight.shape
            mine.weight[:rows, columns:] = 0.0
            mine.weight[:rows, :columns] = theirs.weight
            mine.bias[:rows] = theirs.bias

    def forward(self, groups: Tensor) -> Tensor:
        """Groups (B, c, K, 3), relative to their centres, to tokens (B, c, d)."""
        hidden = self.point(relu(self.enter(groups * COORDINATE_SCALE)))
        out: Tensor = self.leave(relu(self.group(relu(hidden.amax(dim=2)))))
        return out
