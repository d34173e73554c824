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
Advance = Callable[[int, int, str], None]
"""Told how many are done, of how many, and of what."""
BATCH = 64


def at(device: torch.device, encode: Encode) -> Encode:
    """``encode`` of a network on ``device``, for groups, centres and features on the CPU."""
    return lambda groups, centers: encode(groups.to(device), centers.to(device)).cpu()


def silent(done: int, total: int, name: str) -> None:
    """An `Advance` that shows nothing."""


@torch.no_grad()
def _encoded(
    encode: Encode,
    data: GroupedShapes,
    reduce: Callable[[Tensor], Tensor],
    batch: int,
    advance: Advance,
    name: str,
) -> Tensor:
    parts: list[Tensor] = []
    for index in torch.arange(len(data)).split(batch):
        parts.append(reduce(encode(*data.batch(index, torch.zeros_like(index))).float()))
        advance(int(index[-1]) + 1, len(data), name)
    return torch.cat(parts)


def global_features(
    encode: Encode, data: GroupedShapes, batch: int = BATCH, advance: Advance = silent, name: str = ""
) -> npt.NDArray[np.float32]:
    """Global features (M, 2d) float32 of variant 0 of every shape."""
    return np.asarray(_encoded(encode, data, pool, batch, advance, name).numpy(), dtype=np.float32)


def token_features(
    encode: Encode, data: GroupedShapes, batch: int = BATCH, advance: Advance = silent, name: str = ""
) -> Tensor:
    """Token features (M, c, d) float32 of variant 0 of every shape."""
    return _encoded(encode, data, lambda features: features, batch, advance, name)
