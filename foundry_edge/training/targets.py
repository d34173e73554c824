"""Cached teacher outputs: tokens and features of augmented clouds, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foundry_edge.data.groupings import GroupedShapes, Views
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import Compute


@dataclass(frozen=True)
class TeacherTargets:
    """What distillation needs of M clouds, when tokenizer and positions are frozen and shared.

    Attributes:
        tokens: (M, c, d) float16, the tokenizer's output T.
        centers: (M, c, 3) float32.
        features: (M, c, d) float16, the teacher's output Y.
        clouds: the groups that they were computed from, for a student with a tokenizer of its own.
    """

    tokens: Tensor
    centers: Tensor
    features: Tensor
    clouds: Views

    def __len__(self) -> int:
        return len(self.tokens)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, centres and features of clouds ``index`` (B,), float32, on ``device``."""
        parts = (self.tokens[index], self.centers[index], self.features[index])
        tokens, centers, features = (part.to(device).float() for part in parts)
        return tokens, centers, features


def tokens_for(model: Compressed, targets: TeacherTargets, index: Tensor, cached: Tensor) -> Tensor:
    """Tokens (B, c, d) that ``model`` works on: the teacher's, or those of its own light tokenizer.

    Args:
        model: a student or baseline.
        targets: where the clouds are.
        index: which of them.
        cached: (B, c, d), the teacher's tokens of those clouds.
    """
    if model.config.tokenizer == "full":
        return cached
    out: Tensor = model.tokenizer(targets.clouds.batch(index)[0].to(cached.device))
    return out


@torch.no_grad()
def teacher_targets(
    teacher: Teacher,
    data: GroupedShapes,
    views: int,
    seed: int,
    compute: Compute,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
    batch: int = 64,
) -> TeacherTargets:
    """Encode ``views`` views of every shape: the first as it is, the others augmented.

    Args:
        teacher: frozen.
        data: M shapes.
        views: V views per shape; M * V clouds result, view by view.
        seed: of the augmentation.
        compute: where, and in which type; the teacher is moved there and back.
        on_batch: told (clouds done, clouds in all).
    """
    clouds = Views.of(data, views, seed)
    shape = (len(clouds), data.centers.shape[2], teacher.config.width)
    tokens, features = torch.empty(*shape, dtype=torch.float16), torch.empty(*shape, dtype=torch.float16)
    centers_all = torch.empty(*shape[:2], 3)
    home = next(teacher.parameters()).device
    teacher.to(compute.device)
    with compute.autocast():
        for rows in torch.arange(len(clouds)).split(batch):
            groups, centers = clouds.batch(rows)
            centers_all[rows] = centers
            token, feature = _encoded(teacher, groups.to(compute.device), centers.to(compute.device))
            tokens[rows], features[rows] = token.half().cpu(), feature.half().cpu()
            on_batch(int(rows[-1]) + 1, len(clouds))
    teacher.to(home)
    return TeacherTargets(tokens, centers_all, features, clouds)


def _encoded(teacher: Teacher, groups: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens and features (B, c, d)."""
    tokens: Tensor = teacher.tokenizer(groups)
    return tokens, teacher.encode_tokens(tokens, teacher.position(centers))
