"""From tokens to points: inverse-distance interpolation over three centres (PointNet++, eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding

from foundry_edge_runtime.grouping import Preprocessing, to_model_frame
from foundry_edge_runtime.interpolation import NEAREST, NEIGHBOURS
from foundry_edge_runtime.pointcloud import FloatArray

_EXACT = partial(torch.cdist, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True)
class Neighbours:
    """For every point of M shapes its nearest centres.

    Attributes:
        index: (M, P, 3) int64, indexes the c centres.
        weight: (M, P, 3) float32, sums to 1 over the last axis.
    """

    index: Tensor
    weight: Tensor


def model_frame(xyz: FloatArray, spec: Preprocessing) -> FloatArray:
    """All points (P, 3) of a shape in the frame in which `group_points` sees its first N points.

    Returns:
        (P, 3) float32: centred and scaled as those N points are.
    """
    return to_model_frame(xyz, spec, xyz[: spec.points])


def nearest_centres(xyz: Tensor, centers: Tensor) -> Neighbours:
    """The three nearest of centres (M, c, 3) for each of points (M, P, 3), weighted by inverse distance."""
    count = min(NEIGHBOURS, centers.shape[1])
    indices, weights = [], []
    for points, centres in zip(xyz.float(), centers.float(), strict=True):
        square, index = _EXACT(points, centres).square().topk(count, dim=1, largest=False)
        inverse = 1 / square.clamp_min(NEAREST)
        indices.append(index)
        weights.append(inverse / inverse.sum(dim=1, keepdim=True))
    return Neighbours(torch.stack(indices), torch.stack(weights))


def interpolate(tokens: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Point features (B, P, d) of token features (B, c, d), with the neighbours (B, P, 3) of each point."""
    first = torch.arange(tokens.shape[0], device=tokens.device)[:, None, None] * tokens.shape[1]
    near = embedding(index + first, tokens.flatten(0, 1))
    out: Tensor = (near * weight.to(tokens.dtype).unsqueeze(-1)).sum(dim=2)
    return out
