"""Colours of points: by their features (first three principal components), their group or their part."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.interpolation import Interpolation
from foundry_edge_runtime.pointcloud import FloatArray

Colours = npt.NDArray[np.uint8]
_CUT = (2.0, 98.0)  # percentiles that become 0 and 255
_GOLDEN_ANGLE = 0.6180339887498949


def feature_colours(tokens: FloatArray, points: Interpolation) -> Colours:
    """Red, green and blue from the first three principal components of the per-point features.

    The components are those of all points, found without making the features: a point's feature is a weighted
    sum of tokens, so mean and covariance follow from the moments of the weights.

    Args:
        tokens: (c, d) float32.
        points: how points are made of the centres.

    Returns:
        (N, 3) uint8; each component is stretched from its 2nd to its 98th percentile.
    """
    components = principal_components(tokens, points)
    values = points.apply(tokens.astype(np.float64) @ components)
    low, high = np.percentile(values, _CUT, axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled = np.where(high > low, (values - low) / span, 0.5)
    return (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)


def principal_components(tokens: FloatArray, points: Interpolation) -> npt.NDArray[np.float64]:
    """The first three principal directions of the per-point features.

    Returns:
        (d, 3) float64, orthonormal; the largest entry of each is positive. With d < 3 the rest is zero.
    """
    mean, second = _moments(points)
    values = tokens.astype(np.float64)
    covariance = values.T @ (second - np.outer(mean, mean)) @ values
    _, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    first = vectors[:, ::-1][:, :3]
    largest = np.take_along_axis(first, np.abs(first).argmax(axis=0)[None, :], axis=0)
    found = np.zeros((values.shape[1], 3))
    found[:, : first.shape[1]] = first * np.where(largest < 0, -1.0, 1.0)
    return found


def group_colours(points: Interpolation) -> Colours:
    """A colour for the group that each point is nearest to, (N, 3) uint8."""
    return palette(points.centres)[points.nearest[:, 0]]


def palette(count: int) -> Colours:
    """So many colours, (count, 3) uint8; the hues are far apart."""
    hues = (np.arange(count) * _GOLDEN_ANGLE) % 1.0
    table = [colorsys.hsv_to_rgb(hue, 0.75, 0.95 if i % 2 else 0.75) for i, hue in enumerate(hues)]
    return (np.array(table) * 255).round().astype(np.uint8)


def _moments(points: Interpolation) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean (c,) and second moment (c, c) of the points' weights."""
    c, n = points.centres, len(points.nearest)
    mean = np.zeros(c)
    second = np.zeros(c * c)
    columns = range(points.nearest.shape[1])
    for a in columns:
        mean += np.bincount(points.nearest[:, a], points.weights[:, a], c)
        for b in columns:
            pair = points.nearest[:, a] * c + points.nearest[:, b]
            second += np.bincount(pair, points.weights[:, a] * points.weights[:, b], c * c)
    return mean / n, second.reshape(c, c) / n
