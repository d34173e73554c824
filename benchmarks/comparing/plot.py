"""The plot of the comparison on objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from foundry_edge_runtime.files import replacing

FAMILIES = {
    "teacher, torch": ("black", "o"),
    "teacher, ONNX Runtime": ("black", "^"),
    "student as published": ("tab:orange", "o"),
    "student rewritten": ("tab:orange", "D"),
    "tokenizer alone": ("tab:olive", "x"),
    "ToMe": ("tab:green", "o"),
    "truncation, torch": ("tab:blue", "o"),
    "truncation, light, FP32": ("tab:blue", "^"),
    "truncation, light, INT8": ("tab:cyan", "^"),
    "ours, full, FP32": ("salmon", "s"),
    "ours, full, INT8": ("tab:pink", "s"),
    "ours, light, FP32": ("tab:red", "*"),
    "ours, light, INT8": ("darkred", "*"),
}
"""What the legend calls a group of contenders, and how it is drawn."""
TICKS = (150, 250, 500, 1000, 2000)


def family(name: str) -> str:
    """The family of a contender; its own name where it has none."""
    precision = "INT8" if name.lower().endswith("int8") else "FP32"
    if name.startswith("truncation"):
        return f"truncation, light, {precision}" if "light" in name else "truncation, torch"
    if name.startswith("ours"):
        return f"ours, {'light' if 'lite' in name else 'full'}, {precision}"
    return next((one for one in FAMILIES if name.startswith(one)), name)


def plot_objects(rows: list[dict[str, Any]], path: Path) -> None:
    """Speed against the naive teacher over multiply-accumulates, one panel for each batch size."""
    shown = [row for row in rows if row["workload"] == "object" and row["macs"] is not None]
    batches = list(dict.fromkeys(row["batch"] for row in shown))
    figure = Figure(figsize=(4.4 * len(batches), 5.4), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
    for panel, batch in zip(panels, batches, strict=True):
        for name in dict.fromkeys(family(row["name"]) for row in shown):
            alike = [row for row in shown if row["batch"] == batch and family(row["name"]) == name]
            colour, marker = FAMILIES.get(name, ("grey", "."))
            xy = [(row["macs"] / 1e6, row["ratio_to_teacher"]) for row in alike]
            panel.loglog(*zip(*xy, strict=True), marker, color=colour, markersize=7, label=name)
        panel.set(title=f"batch {batch}", xlabel="MMACs of one cloud", xticks=TICKS, yticks=(1, 2, 5, 10, 20))
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("times faster than the naive teacher, points in, features out")
    if shown:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    with replacing(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})
