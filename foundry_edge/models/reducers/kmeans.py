"""K-means baseline: Lloyd's algorithm on each cloud's tokens (Foundry, table 1, "K-means student")."""

from __future__ import annotations

import torch
from torch import Tensor

from foundry_edge.models.reducer import Assignment, Reducer, Sampling, TokenCloud, one_hot

LLOYD_STEPS = 5


class KMeans(Reducer):
    """Clusters LN(T) + LN(positions), started from the tokens of the first s FPS centres.

    A cluster that becomes empty keeps its centroid.
    """

    @torch.no_grad()
    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """After `LLOYD_STEPS` updates of the centroids, in training too."""
        points = cloud.content()
        centroids = points[:, :count]
        for _ in range(LLOYD_STEPS):
            members = one_hot(_nearest(points, centroids), count, points.dtype)
            size = members.sum(dim=1).unsqueeze(-1)
            means = members.transpose(1, 2) @ points / size.clamp_min(1.0)
            centroids = torch.where(size > 0, means, centroids)
        hard = one_hot(_nearest(points, centroids), count, cloud.tokens.dtype)
        return Assignment(hard, hard)


def _nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """Index (B, c) of the nearest centroid (B, s, d) by squared distance; |x|^2 is the same for all."""
    score = points @ centroids.transpose(1, 2) - centroids.square().sum(dim=-1).unsqueeze(1) / 2
    return score.argmax(dim=-1)
