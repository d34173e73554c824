"""How close a student's tokens are to the teacher's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cosine_similarity, smooth_l1_loss


@dataclass(frozen=True)
class Fidelity:
    """Agreement of features (M, c, d) with the teacher's.

    Attributes:
        cosine_mean: mean over all tokens.
        cosine_worst: lowest mean over the tokens of one cloud.
        smooth_l1: the distillation loss (beta 1).
        samples: M.
    """

    cosine_mean: float
    cosine_worst: float
    smooth_l1: float
    samples: int


def fidelity(features: Tensor, reference: Tensor) -> Fidelity:
    """Compare features (M, c, d) with the teacher's (M, c, d)."""
    per_cloud = cosine_similarity(features, reference, dim=-1).mean(dim=1)
    return Fidelity(
        cosine_mean=float(per_cloud.mean()),
        cosine_worst=float(per_cloud.min()),
        smooth_l1=float(smooth_l1_loss(features, reference)),
        samples=len(features),
    )
