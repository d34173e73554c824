"""FPS baseline: each token joins the nearest of the first s centres (Foundry, table 1, "FPS student")."""

from __future__ import annotations

from foundry_edge.models.reducer import Assignment, Reducer, Sampling, TokenCloud, one_hot


class NearestCentre(Reducer):
    """Centres come in FPS order, so the first s of them are themselves an FPS sample of the cloud."""

    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """By squared distance; nothing is learned, so nothing is sampled."""
        centers = cloud.centers
        distance = (centers.unsqueeze(2) - centers[:, None, :count]).square().sum(dim=-1)
        hard = one_hot(distance.argmin(dim=-1), count, cloud.tokens.dtype)
        return Assignment(hard, hard)
