"""Cached teacher outputs: tokens and features of augmented clouds, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foundry_edge.data.groupings import AUGMENT_DRAWS, GroupedShapes, augment
from foundry_edge.models.teacher import Teacher


@dataclass(frozen=True)
class TeacherTargets:
    """What distillation needs of M clouds, when tokenizer and positions are frozen and shared.

    Attributes:
        tokens: (M, c, d) float16, the tokenizer's output T.
        centers: (M, c, 3) float32.
        features: (M, c, d) float16, the teacher's output Y.
    """

    tokens: Tensor
    centers: Tensor
    features: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, centres and features of clouds ``index`` (B,), float32, on ``device``."""
        parts = (self.tokens[index], self.centers[index], self.features[index])
        tokens, centers, features = (part.to(device).float() for part in parts)
        return tokens, centers, features


@torch.no_grad()
def teacher_targets(
    teacher: Teacher,
    data: GroupedShapes,
    views: int,
    seed: int,
    precision: torch.dtype,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    batch: int = 64,
) -> TeacherTargets:
    """Encode ``views`` views of every shape: the first as it is, the others augmented.

    Args:
        teacher: frozen.
        data: M shapes.
        views: V views per shape; M * V clouds result, view by view.
        seed: of the augmentation.
        precision: autocast type of the teacher, torch.float32 for none.
        on_batch: told (clouds done, clouds in all).
    """
    config = teacher.config
    total, shape = len(data) * views, (config.preprocessing.groups, config.width)
    tokens, features = (
        torch.empty(total, *shape, dtype=torch.float16),
        torch.empty(total, *shape, dtype=torch.float16),
    )
    centers_all = torch.empty(total, shape[0], 3)
    generator = torch.Generator().manual_seed(seed)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        for rows in torch.arange(total).split(batch):
            index, view = rows % len(data), rows // len(data)
            groups, centers = data.batch(index, view % data.groups.shape[1])
            moved_groups, moved_centers = augment(
                groups, centers, torch.rand(len(rows), AUGMENT_DRAWS, generator=generator)
            )
            plain = (view == 0)[:, None, None]
            groups, centers = (
                torch.where(plain[..., None], groups, moved_groups),
                torch.where(plain, centers, moved_centers),
            )
            token = teacher.tokenizer(groups)
            tokens[rows], centers_all[rows] = token.half(), centers
            features[rows] = teacher.encode_tokens(token, teacher.position(centers)).half()
            on_batch(int(rows[-1]) + 1, total)
    return TeacherTargets(tokens, centers_all, features)
