"""Cached groupings: FPS and kNN once per shape, so that training steps only gather.

Scale, mirror and rotation commute with grouping, so augmentation is applied to grouped coordinates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foundry_edge.data.one_sided import one_sided
from foundry_edge.data.tensor_cache import keep_tensors, kept_tensors
from foundry_edge_runtime.grouping import Preprocessing, accelerate, group_batch
from foundry_edge_runtime.pointcloud import FloatArray

MANY = 10_000
"""Clouds from which compiling the grouping once pays."""
_AT_ONCE = 32
"""Shapes whose variants are grouped together."""


@dataclass(frozen=True)
class GroupedShapes:
    """Groups of M shapes in V variants each.

    Attributes:
        groups: (M, V, c, K, 3) float16, relative to their centre.
        centers: (M, V, c, 3) float32, in FPS order, so a prefix of them is a coarser FPS sample.
    """

    groups: Tensor
    centers: Tensor

    def __len__(self) -> int:
        return len(self.groups)

    def batch(self, index: Tensor, variant: Tensor) -> tuple[Tensor, Tensor]:
        """Groups (B, c, K, 3) and centres (B, c, 3), float32, of shapes ``index`` (B,)."""
        return self.groups[index, variant].float(), self.centers[index, variant]

    def variants(self) -> list[GroupedShapes]:
        """Each variant of all shapes by itself."""
        parts = zip(self.groups.split(1, dim=1), self.centers.split(1, dim=1), strict=True)
        return [GroupedShapes(groups, centers) for groups, centers in parts]


def joined(parts: Sequence[GroupedShapes]) -> GroupedShapes:
    """The shapes of all ``parts``, which have as many variants each, one after the other."""
    return GroupedShapes(torch.cat([p.groups for p in parts]), torch.cat([p.centers for p in parts]))


def beside(parts: Sequence[GroupedShapes]) -> GroupedShapes:
    """The variants of all ``parts``, which hold the same shapes, one after the other."""
    groups, centers = zip(*((p.groups, p.centers) for p in parts), strict=True)
    return GroupedShapes(torch.cat(groups, dim=1), torch.cat(centers, dim=1))


def group_shapes(
    shapes: FloatArray, spec: Preprocessing, variants: int, seed: int, one_sided_variants: int = 0
) -> GroupedShapes:
    """Group every shape ``variants`` times, each from another random subset of its points.

    Args:
        shapes: (M, P, 3) float32. Variant 0 takes the first N points; the others N points drawn from
            P > N, or a random 7/8 of them when P <= N, so that variants differ.
        spec: N, c and K.
        variants: V.
        seed: of the subsets and viewpoints.
        one_sided_variants: how many of the variants, the last ones, show what one camera sees.
    """
    rng = np.random.default_rng(seed)
    count = len(shapes)
    if count * variants >= MANY:
        accelerate()
    groups = np.empty((count, variants, spec.groups, spec.group_size, 3), dtype=np.float16)
    centers = np.empty((count, variants, spec.groups, 3), dtype=np.float32)
    for first in range(0, count, _AT_ONCE):
        part = shapes[first : first + _AT_ONCE]
        drawn = [one for xyz in part for one in _variants(xyz, spec, variants, rng, one_sided_variants)]
        for number, grouped in enumerate(group_batch(drawn, spec)):
            i, v = first + number // variants, number % variants
            groups[i, v], centers[i, v] = grouped.groups, grouped.centers
    return GroupedShapes(torch.from_numpy(groups), torch.from_numpy(centers))


def _variants(
    xyz: FloatArray, spec: Preprocessing, variants: int, rng: np.random.Generator, one_sided_variants: int
) -> Iterator[FloatArray]:
    """The points of each variant of one shape (P, 3)."""
    points = len(xyz)
    drawn = min(spec.points, max(points * 7 // 8, 1))
    for v in range(variants):
        subset = xyz[: spec.points] if v == 0 else xyz[rng.choice(points, drawn, replace=False)]
        yield one_sided(xyz, rng) if v >= variants - one_sided_variants else subset


def cached_groupings(
    shapes: FloatArray,
    spec: Preprocessing,
    variants: int,
    seed: int,
    cache: Path,
    one_sided_variants: int = 0,
) -> GroupedShapes:
    """`group_shapes`, kept in the folder ``cache`` under a key of the points and all parameters.

    A damaged copy is made anew.
    """
    digest = hashlib.sha256(np.ascontiguousarray(shapes).tobytes())
    digest.update(f"{spec.model_dump_json()} {variants} {seed} {one_sided_variants}".encode())
    path = cache / f"groupings-{digest.hexdigest()[:16]}.pt"
    stored = kept_tensors(path, "groups", "centers")
    if stored is not None:
        return GroupedShapes(*stored)
    grouped = group_shapes(shapes, spec, variants, seed, one_sided_variants)
    keep_tensors(path, groups=grouped.groups, centers=grouped.centers)
    return grouped


AUGMENT_DRAWS = 6
"""Uniform draws that one augmented cloud needs."""


def augment(groups: Tensor, centers: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Point-JEPA's augmentation on grouped clouds: anisotropic scale 0.8-1.2, mirrors, rotation about z.

    Args:
        groups: (B, c, K, 3).
        centers: (B, c, 3).
        draws: (B, AUGMENT_DRAWS), uniform in [0, 1).

    Returns:
        The transformed pair, in the types given, under autocast too.
    """
    with torch.autocast(groups.device.type, enabled=False):  # bfloat16 would move centres by up to 0.7 %
        return _augmented(groups, centers, draws)


def _augmented(groups: Tensor, centers: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    angle = draws[:, 0] * (2 * torch.pi)
    cos, sin = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    turn = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=1).view(-1, 3, 3)
    mirror = torch.stack([torch.where(draws[:, i] < 0.5, -one, one) for i in (1, 2)] + [one], dim=1)
    scale = 0.8 + 0.4 * draws[:, 3:AUGMENT_DRAWS]
    matrix = (turn @ torch.diag_embed(scale * mirror)).transpose(1, 2)
    return groups @ matrix[:, None], centers @ matrix


@dataclass(frozen=True)
class Views:
    """Clouds made of the variants of M shapes, view by view: cloud v * M + i shows shape i.

    Attributes:
        shapes: M grouped shapes; view v takes variant v modulo their number.
        draws: (V * M, AUGMENT_DRAWS), see `augment`; view 0 stays as it is.
    """

    shapes: GroupedShapes
    draws: Tensor

    @staticmethod
    def of(shapes: GroupedShapes, views: int, seed: int) -> Views:
        """``views`` views V of every shape, with draws that depend on ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        return Views(shapes, torch.rand(len(shapes) * views, AUGMENT_DRAWS, generator=generator))

    def __len__(self) -> int:
        return len(self.draws)

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Groups (B, c, K, 3) and centres (B, c, 3), float32, of clouds ``index`` (B,)."""
        view = index // len(self.shapes)
        variants = self.shapes.groups.shape[1]
        groups, centers = self.shapes.batch(index % len(self.shapes), view % variants)
        moved_groups, moved_centers = augment(groups, centers, self.draws[index])
        plain = (view == 0)[:, None, None]
        return torch.where(plain[..., None], groups, moved_groups), torch.where(plain, centers, moved_centers)
