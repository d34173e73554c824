"""Draw the example scans side by side.

python scripts/draw_examples.py docs/scans.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from foundry_edge_runtime import read_points

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = ("chair.pcd", "table_ascii.pcd", "sofa.ply")


def main() -> None:
    """Write the picture: each scan from beside its camera, coloured by height, transparent ground."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    figure, panels = plt.subplots(1, len(NAMES), figsize=(9, 3), subplot_kw={"projection": "3d"})
    for panel, name in zip(panels, NAMES, strict=True):
        xyz = read_points(EXAMPLES / name).xyz
        panel.scatter(*xyz.T, s=0.6, c=xyz[:, 2], cmap="viridis")
        panel.set_box_aspect(np.ptp(xyz, axis=0), zoom=1.3)
        panel.view_init(elev=20, azim=150)
        panel.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    figure.savefig(parser.parse_args().out, dpi=100, transparent=True)


if __name__ == "__main__":
    main()
