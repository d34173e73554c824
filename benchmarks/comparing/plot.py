"""The plot of the comparison on objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foundry_edge_runtime.files import replacing

COLOURS = {"teacher": "black", "student": "tab:orange", "ours": "tab:red"}


def plot_objects(rows: list[dict[str, Any]], baseline: str, path: Path) -> None:
    """Speed against the naive teacher over multiply-accumulates, one panel for each batch size."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["workload"] == "object" and row["macs"] is not None]
    batches = list(dict.fromkeys(row["batch"] for row in shown))
    figure = Figure(figsize=(5 * len(batches), 5), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
    for panel, batch in zip(panels, batches, strict=True):
        for row in (row for row in shown if row["batch"] == batch):
            colour = COLOURS.get(row["name"].partition(",")[0].split()[0], "tab:blue")
            mark = "*" if row["name"] == baseline else "o"
            panel.loglog(row["macs"] / 1e6, row["ratio_to_teacher"], mark, color=colour, markersize=6)
            panel.annotate(
                row["name"], (row["macs"] / 1e6, row["ratio_to_teacher"]), fontsize=5, rotation=20, alpha=0.8
            )
        panel.set(title=f"batch {batch}", xlabel="MMACs of one cloud")
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("times faster than the naive teacher, points in, features out")
    with replacing(path) as partial:
        figure.savefig(partial, format="png")
