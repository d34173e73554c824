"""A scan as a PNG: two views side by side, coloured by feature, and by part where known, else by group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from foundry_edge_runtime.colours import Colours
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.pointcloud import DoubleArray, FloatArray
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.viz.scene import PartColours, scene_of

MOST = 60_000
_AZIMUTH, _ELEVATION = 35.0, 25.0  # degrees
_INK, _PAPER = "#e8e8ee", "#14161c"


def write_picture(result: Result, path: Path) -> None:
    """Draw a scan; z is up.

    Raises:
        StorageError: the file cannot be written.
    """
    scene = scene_of(result, MOST)
    figure = Figure(figsize=(12, 6.6), dpi=100, facecolor=_PAPER)
    axes = figure.subplots(1, 2)
    flat = project(scene.xyz)
    second = (scene.groups, "by group") if scene.parts is None else (scene.parts.points, "by part")
    for one, (colours, name) in zip(axes, ((scene.features, "by feature"), second), strict=True):
        _scatter(one, flat, colours, name)
    if scene.parts is not None:
        _legend(axes[1], scene.parts)
    figure.text(0.5, 0.955, _literal(scene.title), color=_INK, ha="center", size=13, weight="bold")
    figure.text(0.5, 0.03, _literal(scene.caption), color=_INK, ha="center", size=10)
    figure.subplots_adjust(0.01, 0.07, 0.99, 0.91, 0.01)
    FigureCanvasAgg(figure)
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def project(xyz: FloatArray) -> DoubleArray:
    """Points as seen from above and aside: right, up, and towards the eye; (M, 3) float64."""
    azimuth, elevation = np.radians([_AZIMUTH, _ELEVATION])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    eye = np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    basis = np.stack([right, np.cross(eye, right), eye], axis=1)
    seen: DoubleArray = xyz.astype(np.float64) @ basis
    return seen


def _scatter(axes: Axes, flat: DoubleArray, colours: Colours, name: str) -> None:
    """Farthest points first, and darker, so that the shape can be seen."""
    order = np.argsort(flat[:, 2])
    shade = 0.55 + 0.45 * (flat[order, 2, None] + 1) / 2
    size = float(np.clip(60_000 / len(flat), 1.0, 36.0))
    axes.scatter(flat[order, 0], flat[order, 1], s=size, c=colours[order] / 255 * shade, linewidths=0)
    axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    axes.set_axis_off()
    axes.set_title(name, color=_INK, size=10, y=0.97)


def _legend(axes: Axes, parts: PartColours) -> None:
    """Name the parts beside the points, the largest first."""
    handles = [
        Line2D([], [], marker="o", linestyle="", color=tuple(colour / 255), label=_literal(name))
        for name, colour in parts.legend
    ]
    axes.legend(handles=handles, loc="center right", frameon=False, labelcolor=_INK, fontsize=9)


def _literal(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")
