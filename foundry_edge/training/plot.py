"""The plot of the loss beside each training run."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure


def plot_loss(log: Path, out: Path) -> None:
    """Draw the loss of every stage in ``log`` to the PNG ``out``."""
    stages: dict[str, dict[int, float]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "loss" in record:
            stages.setdefault(record["stage"], {})[record["step"]] = record["loss"]
    figure = Figure(figsize=(5 * len(stages), 3.2), layout="tight")
    axes = figure.subplots(1, len(stages), squeeze=False)
    for axis, (stage, points) in zip(axes[0], stages.items(), strict=True):
        axis.plot(list(points), list(points.values()), linewidth=1.2)
        axis.set(title=stage, xlabel="step", ylabel="loss")
        axis.grid(alpha=0.3)
    figure.savefig(out, dpi=120)
