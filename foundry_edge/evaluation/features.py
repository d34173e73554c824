"""Frozen features of grouped shapes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.models.heads import pool

Encode = Callable[[Tensor, Tensor], Tensor]
"""Groups (B, c, K, 3) and centres (B, c, 3) to features (B, c, d)."""


@torch.no_grad()
def global_features(encode: Encode, data: GroupedShapes, batch: int = 64) -> npt.NDArray[np.float32]:
    """Global features (M, 2d) float32 of variant 0 of every shape."""
    parts = []
    for index in torch.arange(len(data)).split(batch):
        parts.append(pool(encode(*data.batch(index, torch.zeros_like(index))).float()))
    return torch.cat(parts).numpy()
