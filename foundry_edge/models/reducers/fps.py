"""FPS baseline: each token joins the nearest of the first s centres (Foundry, table 1, "FPS student")."""

from __future__ import annotations

from torch import Tensor

from foundry_edge.models.reducer import Assignment, Reducer, Sampling, one_hot


class NearestCentre(Reducer):
    """Centres come in FPS order, so the first s of them are themselves an FPS sample of the cloud."""

    def assign(
        self,
        tokens: Tensor,
        positions: Tensor,
        centers: Tensor,
        count: int,
        sampling: Sampling | None = None,
    ) -> Assignment:
        """By squared distance; nothing is learned, so nothing is sampled."""
        distance = (centers.unsqueeze(2) - centers[:, None, :count]).square().sum(dim=-1)
        hard = one_hot(distance.argmin(dim=-1), count, tokens.dtype)
        return Assignment(hard, hard)
