"""PatchMerger baseline: s learned soft mixtures of all tokens (Renggli et al. 2022)."""

from __future__ import annotations

import torch
from torch import nn

from foundry_edge.models.reducer import Assignment, Reducer, Sampling, TokenCloud

SCALE = 20.0
"""Sharpness at the start; tokens have unit variance per channel after the norm."""


class PatchMerger(Reducer):
    """SuperToken k is the softmax-weighted mean of all tokens under learned query k.

    The way back, which PatchMerger has not, is the softmax of the same logits over the SuperTokens.
    """

    def __init__(self, width: int, most: int) -> None:
        super().__init__(width)
        self.queries = nn.Parameter(torch.empty(most, width))
        nn.init.trunc_normal_(self.queries, std=SCALE / width)

    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """Soft, in training and at inference alike."""
        logits = cloud.content() @ self.queries[:count].T
        return Assignment(logits.softmax(dim=1), logits.softmax(dim=2))
