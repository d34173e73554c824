"""Which block costs how much: each quantised alone, everything else in FP32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from foundry_edge_calibration.engine import Array, run_all
from foundry_edge_calibration.placement import Site, block_of
from foundry_edge_calibration.qdq import insert_qdq
from foundry_edge_calibration.similarity import token_cosines


@dataclass(frozen=True)
class BlockLoss:
    """What quantising one block alone does to the tokens.

    Attributes:
        block: a name that --keep-float takes.
        cosine_mean: token cosine to FP32, mean over clouds.
        cosine_worst: of the worst cloud.
        share: of the loss (1 - cosine_mean) summed over all blocks, 0 to 1.
    """

    block: str
    cosine_mean: float
    cosine_worst: float
    share: float


def sensitivity(
    model: onnx.ModelProto,
    sites: Sequence[Site],
    ranges: Mapping[str, float],
    groups: Array,
    centers: Array,
    reference: Array,
) -> list[BlockLoss]:
    """The loss of each block, worst first.

    Args:
        model: FP32, weights inside.
        sites: maps of all blocks.
        ranges: activation tensor -> clipping threshold.
        groups: (M, c, K, 3) float32.
        centers: (M, c, 3) float32.
        reference: tokens (M, c, d) of the FP32 model.
    """
    cosines = {}
    for block in dict.fromkeys(block_of(site.module) for site in sites):
        quantised = insert_qdq(model, [site for site in sites if block_of(site.module) == block], ranges)
        cosines[block] = token_cosines(run_all(quantised, groups, centers)["tokens"], reference)
    total = max(sum(1 - float(found.mean()) for found in cosines.values()), 1e-30)
    losses = [
        BlockLoss(block, float(found.mean()), float(found.min()), (1 - float(found.mean())) / total)
        for block, found in cosines.items()
    ]
    return sorted(losses, key=lambda loss: loss.cosine_mean)
