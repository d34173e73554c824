"""The augmentation of fine-tuning (point2vec, appendix): random scale of each axis, then unit sphere."""

from __future__ import annotations

from torch import Tensor

from foundry_edge.training.engine import Step


def random_scale(
    groups: Tensor, centers: Tensor, step: Step, limits: tuple[float, float], xyz: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale clouds along their axes and shrink or grow them back into the unit ball.

    Args:
        groups: (B, c, K, 3), relative to their centre.
        centers: (B, c, 3).
        step: source of the draws.
        limits: lowest and highest factor.
        xyz: (B, P, 3), points that are to follow.

    Returns:
        The transformed three.
    """
    low, high = limits
    scale = (low + (high - low) * step.uniform(3)).to(centers.device)
    groups, centers, xyz = groups * scale[:, None, None], centers * scale[:, None], xyz * scale[:, None]
    reach = (groups + centers[:, :, None]).flatten(1, 2).norm(dim=2).amax(dim=1).clamp_min(1e-6)
    return groups / reach[:, None, None, None], centers / reach[:, None, None], xyz / reach[:, None, None]
