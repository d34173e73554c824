"""Which block costs how much: each quantised alone, everything else in FP32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from foundry_edge_calibration.engine import Array, run_all
from foundry_edge_calibration.placement import Site
from foundry_edge_calibration.qdq import insert_qdq
from foundry_edge_calibration.similarity import token_cosines


@dataclass(frozen=True)
class BlockLoss:
    """What quantising one block alone does to the tokens.

    Attributes:
        block: a name that --keep-float takes.
        cosine_mean: token cosine to FP32, mean over clouds.
        cosine_worst: of the worst cloud.
    """

    block: str
    cosine_mean: float
    cosine_worst: float


def block_of(site: Site) -> str:
    """``blocks.3.attn.qkv`` belongs to ``blocks.3``, ``cau_mlp.fc1`` to ``cau_mlp``."""
    parts = site.module.split(".")
    return parts[0] if parts[0].startswith("cau") else ".".join(parts[:2])


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
    losses = []
    for block in dict.fromkeys(map(block_of, sites)):
        quantised = insert_qdq(model, [site for site in sites if block_of(site) == block], ranges)
        cosines = token_cosines(run_all(quantised, groups, centers)["tokens"], reference)
        losses.append(BlockLoss(block, float(cosines.mean()), float(cosines.min())))
    return sorted(losses, key=lambda loss: loss.cosine_mean)
