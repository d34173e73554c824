"""Plots of the student table: quality against what it costs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from benchmarks.student_points import Point, macs
from foundry_edge_runtime.files import replacing

FAMILIES = {
    "light-2-2": ("crimson", "D"),
    "light-2-2-h64": ("deeppink", "D"),
    "light-2-2-r1": ("gold", "D"),
    "light-3-2-r1": ("orange", "D"),
    "light-3-2-r1-h64": ("salmon", "*"),
    "light-3-2-r1-h64-cau-fps": ("tab:blue", "P"),
    "light-3-2-r1-h64-cau-kmeans": ("tab:cyan", "P"),
    "light-3-2-r1-h64-cau-tome": ("tab:green", "P"),
    "light-3-2-r1-h64-cau-patchmerger": ("goldenrod", "P"),
    "light-3-2-r1-h64-cau": ("red", "*"),
    "light-1a1-2": ("orchid", "D"),
    "light-1a2-2": ("plum", "D"),
    "light-2-2-fps": ("tab:blue", "s"),
    "light-2-2-kmeans": ("tab:cyan", "s"),
    "light-2-2-tome": ("tab:green", "s"),
    "lite-truncation": ("dimgrey", "^"),
    "lite-truncation-h64": ("black", "<"),
    "lite-truncation-r1": ("silver", "^"),
    "lite-truncation-r1-h64": ("grey", "<"),
    "lite-truncation-r1-h64-cau": ("black", ">"),
    "hybrid": ("tab:red", "o"),
    "hybrid-anchored": ("salmon", "o"),
    "located": ("tab:orange", "o"),
    "anchored": ("tab:purple", "o"),
    "learned": ("tab:brown", "o"),
    "fps": ("navy", "x"),
    "kmeans": ("teal", "x"),
    "tome": ("darkgreen", "x"),
    "truncation": ("black", "^"),
    "patchmerger": ("goldenrod", "v"),
    "mimicry": ("grey", "v"),
}
"""What the plots show, and how."""
AXES = {"smooth_l1": "Smooth L1", "test": "linear probe, %", "instance_miou": "part probe, mIoU"}
"""Figure -> what its axis says."""
PRICES: dict[str, Callable[[Point], float]] = {
    "MMACs": lambda p: macs(p) / 1e6,
    "GMACs of a scene of 9375 groups": lambda p: (p.mean("macs_scene") or 0.0) / 1e9,
    "latency at batch 1, teacher = 1": lambda p: p.mean("latency", "ratio") or 0.0,
    "weights, MB": lambda p: (p.mean("weight_bytes") or 0.0) / 1e6,
}


def plot(
    points: list[Point], prices: dict[str, Callable[[Point], float]], what: list[str], out: Path
) -> None:
    """One panel per price, two in a row; lines join the budgets of one family."""
    rows = -(-len(prices) // 2)
    figure = Figure(figsize=(10.4, 4.0 * rows + 0.9), layout="constrained")
    for axis, (label, price) in zip(figure.subplots(rows, 2).flat, prices.items(), strict=True):
        for family, (colour, marker) in FAMILIES.items():
            xy = sorted((price(p), p.mean(*what)) for p in points if _family(p) == family and p.mean(*what))
            if xy:
                axis.plot(*zip(*xy, strict=True), color=colour, marker=marker, label=family, linewidth=1.2)
        for name, style in (("teacher", "-"), ("random", ":")):
            level = next((p.mean(*what) for p in points if p.run == name), None)
            if level:
                axis.axhline(level, color="grey", linestyle=style, linewidth=1, label=name)
        axis.set(xlabel=label, ylabel=AXES.get(what[-1], what[-1]))
        axis.set_yscale("log" if what == ["smooth_l1"] else "linear")
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    with replacing(out) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata={"Software": None})


def _family(point: Point) -> str:
    """The run's name; of truncations without the number of blocks."""
    return re.sub(r"(truncation)-\d+", r"\1", point.run)
