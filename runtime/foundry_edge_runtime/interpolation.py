"""Features of every point, interpolated from the tokens of the groups around it.

Inverse-distance weighted average of the k nearest centres, with k = 3 and the squared distance, as in
PointNet++ (Qi et al. 2017, section 3.4, equation 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.grouping import to_model_frame
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.result import Result

NEIGHBOURS = 3
BLOCK = 1 << 15
NEAREST = 1e-12  # squared distance below which a point counts as lying on the centre


@dataclass(frozen=True)
class Interpolation:
    """How the points of a cloud are made of its centres.

    Attributes:
        nearest: (N, k) int64, the nearest centres, nearest first.
        weights: (N, k) float64, rows sum to 1.
        centres: c, how many centres there are.
    """

    nearest: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    centres: int

    def apply(self, values: npt.NDArray[np.floating]) -> FloatArray:
        """Values of the centres (c, m) as values of the points (N, m) float32."""
        blocks = list(self.blocks(values))
        return np.concatenate(blocks)

    def blocks(self, values: npt.NDArray[np.floating]) -> Iterator[FloatArray]:
        """As `apply`, a block of points at a time, so that large clouds need little memory."""
        for start in range(0, len(self.nearest), BLOCK):
            rows = slice(start, start + BLOCK)
            block = np.einsum("nk,nkm->nm", self.weights[rows], values[self.nearest[rows]])
            yield block.astype(np.float32)


def interpolation(result: Result) -> Interpolation:
    """The weights for the points of a result, in the order of ``result.cloud.xyz``."""
    points = to_model_frame(result.cloud.xyz, result.bundle.manifest.preprocessing)
    blocks = [
        nearest_centres(points[start : start + BLOCK], result.centers)
        for start in range(0, len(points), BLOCK)
    ]
    nearest, weights = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Interpolation(nearest, weights, len(result.centers))


def point_features(result: Result) -> FloatArray:
    """A feature for each point of a result's cloud.

    Returns:
        (N, d) float32, in the order of ``result.cloud.xyz``.
    """
    return interpolation(result).apply(result.tokens)


def nearest_centres(
    points: FloatArray, centers: FloatArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The nearest of centres (c, 3) for each of points (N, 3), and their weights.

    Returns:
        (N, k) int64, nearest first, and (N, k) float64, rows sum to 1; k is 3, or c if that is less.
    """
    distance = np.zeros((len(points), len(centers)))
    for axis in range(3):
        distance += (points[:, axis, None].astype(np.float64) - centers[:, axis]) ** 2
    rows = np.arange(len(points))
    nearest = np.empty((len(points), min(NEIGHBOURS, len(centers))), np.int64)
    squared = np.empty(nearest.shape)
    for rank in range(nearest.shape[1]):  # a few passes are sooner than sorting all
        nearest[:, rank] = distance.argmin(axis=1)
        squared[:, rank] = distance[rows, nearest[:, rank]]
        distance[rows, nearest[:, rank]] = np.inf
    return nearest, inverse_distance(squared)


def inverse_distance(squared: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Weights (N, k) of the k nearest, rows sum to 1, from their squared distances (N, k)."""
    inverse = 1.0 / np.maximum(squared.astype(np.float64), NEAREST)
    weights: npt.NDArray[np.float64] = inverse / inverse.sum(axis=1, keepdims=True)
    return weights
