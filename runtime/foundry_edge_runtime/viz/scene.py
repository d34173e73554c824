"""What is drawn: points in a unit ball, their colours, and a caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.colours import Colours, feature_colours, group_colours, palette
from foundry_edge_runtime.errors import printable
from foundry_edge_runtime.interpolation import interpolation
from foundry_edge_runtime.parts.result import PartResult
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.result import Result


@dataclass(frozen=True)
class PartColours:
    """Points coloured by part.

    Attributes:
        points: (M, 3) uint8.
        legend: name and (3,) uint8 colour of each part that has points, the largest first.
    """

    points: Colours
    legend: tuple[tuple[str, Colours], ...]


@dataclass(frozen=True)
class Scene:
    """Points to draw.

    Attributes:
        xyz: (M, 3) float32, centred on their box, in the unit ball.
        features, groups: (M, 3) uint8 colours.
        title: name of the scan.
        caption: what was found, in one line.
        parts: colours by part, where parts were asked for.
    """

    xyz: FloatArray
    features: Colours
    groups: Colours
    title: str
    caption: str
    parts: PartColours | None = None


def scene_of(result: Result, most: int) -> Scene:
    """A scan as a scene; of more than ``most`` points every n-th is drawn, and the caption says so."""
    points = interpolation(result)
    step = -(-len(result.cloud) // most)
    kept = slice(None, None, step)
    xyz = result.cloud.xyz.astype(np.float64)
    xyz -= (xyz.min(axis=0) + xyz.max(axis=0)) / 2
    reach = float(np.sqrt((xyz**2).sum(axis=1).max())) or 1.0
    return Scene(
        (xyz[kept] / reach).astype(np.float32),
        feature_colours(result.tokens, points)[kept],
        group_colours(points)[kept],
        printable(result.cloud.source),
        _caption(result, step),
        None if result.parts is None else _part_colours(result.parts, kept),
    )


def _part_colours(parts: PartResult, kept: slice) -> PartColours:
    colours = palette(len(parts.names))
    counts = list(parts.counts.values())
    largest = sorted((number for number, count in enumerate(counts) if count), key=lambda one: -counts[one])
    legend = tuple((printable(parts.names[number]), colours[number]) for number in largest)
    return PartColours(colours[parts.part][kept], legend)


def _caption(result: Result, step: int) -> str:
    parts = [f"{len(result.cloud)} points" + (f", every {step}th drawn" if step > 1 else "")]
    if result.top is not None:
        doubt = "" if result.confident else " (not confident)"
        parts.append(f"{printable(result.top[0].label)} {result.top[0].score:.2f}{doubt}")
    if result.parts is not None:
        parts.append(f"parts of {printable(result.parts.category)}")
    parts.append(f"{result.choice.rung.name} on {result.choice.backend}")
    return "; ".join(parts)
