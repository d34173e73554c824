"""Masked reconstruction pre-training (Point-MAE, Pang et al. 2022, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foundry_edge.data.groupings import AUGMENT_DRAWS, GroupedShapes, augment
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.transformer import Encoder
from foundry_edge.training.engine import Step

MASK_RATIO = 0.6
DECODER_DEPTH = 4
HEAD_STD = 0.005
"""First reconstructions then have the size of a group (about 0.1), and so have the first gradients."""


def chamfer_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean symmetric Chamfer distance (Euclidean) between point sets (G, n, 3) and (G, m, 3)."""
    distance = torch.cdist(a, b)
    return (distance.amin(dim=2).mean() + distance.amin(dim=1).mean()) / 2


def take(tokens: Tensor, index: Tensor) -> Tensor:
    """Rows ``index`` (B, n) of ``tokens`` (B, c, ...)."""
    return tokens[torch.arange(len(tokens), device=tokens.device)[:, None], index]


class MaskedReconstruction(nn.Module):
    """Encode the visible groups, decode the masked ones, compare their points."""

    def __init__(self, teacher: Teacher, data: GroupedShapes) -> None:
        super().__init__()
        config = teacher.config
        self.data = data
        self.teacher = teacher
        self.decoder_position = PositionalEncoding(config.width)
        self.decoder = Encoder(config.width, DECODER_DEPTH, config.heads)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.head = nn.Linear(config.width, config.preprocessing.group_size * 3)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """Chamfer-L1 between the masked groups and their reconstruction."""
        groups, centers = draw(self.data, step, self.mask_token.device)
        batch, count = centers.shape[:2]
        order = step.uniform(count).argsort(dim=1).to(centers.device)
        hidden = int(count * MASK_RATIO)
        masked, visible = order[:, :hidden], order[:, hidden:]
        features = self.teacher.encode_groups(take(groups, visible), take(centers, visible))
        positions = self.decoder_position(torch.cat([take(centers, visible), take(centers, masked)], dim=1))
        tokens = torch.cat([features, self.mask_token.to(features.dtype).expand(batch, hidden, -1)], dim=1)
        decoded = self.decoder(tokens, positions)[:, -hidden:]
        points = self.head(decoded).float().view(batch * hidden, -1, 3)
        loss = chamfer_l1(points, take(groups, masked).flatten(0, 1))
        return loss, {"feature_std": float(features.detach().float().std(dim=(0, 1)).mean())}

    def after_step(self, step: Step) -> None:
        """Nothing to do: there is no EMA copy."""


def draw(data: GroupedShapes, step: Step, device: torch.device) -> tuple[Tensor, Tensor]:
    """An augmented batch; every other step takes the first half of the centres.

    Mixing c/2 and c is cheaper than c alone and as good (c/2 alone hurts at c).
    """
    variant = (step.uniform() * data.groups.shape[1]).long()
    groups, centers = augment(*data.batch(step.index, variant), step.uniform(AUGMENT_DRAWS))
    kept = centers.shape[1] if step.number % 2 else max(centers.shape[1] // 2, 4)
    return groups[:, :kept].to(device), centers[:, :kept].to(device)
