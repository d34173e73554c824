"""ToMe baseline: bipartite soft matching (Bolya et al. 2023, "Token Merging", section 3) to s tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from foundry_edge.models.reducer import Assignment, Reducer, Sampling, TokenCloud


class TokenMerging(Reducer):
    """Repeats the matching until s tokens are left, before the encoder: the same cost as SuperTokens.

    Each round splits the tokens alternately in two halves, links every token of the first half with its
    most similar one of the second, and merges along the strongest links; at most half of the tokens go in
    one round. Similarity is the cosine of LN(T) + LN(positions). Unmerging copies a merged token back to
    all its members.
    """

    @torch.no_grad()
    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """Deterministic, in training too."""
        points = cloud.content()
        members = torch.eye(points.shape[1], device=points.device).expand(len(points), -1, -1)
        while members.shape[2] > count:
            means = members.transpose(1, 2) @ points / members.sum(dim=1).unsqueeze(-1)
            members = members @ match(means, members.shape[2] - count)
        hard = members.to(cloud.tokens.dtype)
        return Assignment(hard, hard)


def match(points: Tensor, excess: int) -> Tensor:
    """One round of bipartite soft matching.

    Args:
        points: (B, n, d), what is compared.
        excess: how many tokens to lose; at most n // 2 are lost.

    Returns:
        (B, n, m) one-hot rows: where each of the n tokens goes, m = n - min(excess, n // 2).
    """
    batch, n, _ = points.shape
    merged = min(excess, n // 2)
    unit = functional.normalize(points, dim=-1)
    first, second = unit[:, 1::2], unit[:, ::2]
    best, partner = (first @ second.transpose(1, 2)).max(dim=-1)
    numbers = torch.arange(best.shape[1], device=best.device)
    order = best.argsort(dim=-1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, numbers.expand_as(order))
    kept = second.shape[1]
    target = torch.where(rank < merged, partner, kept + rank - merged)
    winner = torch.empty(batch, n, dtype=torch.long, device=points.device)
    winner[:, ::2] = torch.arange(kept, device=points.device)
    winner[:, 1::2] = target
    return functional.one_hot(winner, n - merged).to(points.dtype)
