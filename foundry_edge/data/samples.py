"""The embedded sample set: freely licensed furniture, so that every command runs with no data given."""

from __future__ import annotations

from importlib.resources import as_file, files

from foundry_edge.data.shapes import ShapeSet, load_npz

SAMPLES = "furniture.npz"


def load_samples() -> ShapeSet:
    """The embedded sample set: 1024 points per shape, class labels and a train/test split.

    The models come from the Sweet Home 3D furniture catalogue under CC BY 3.0 or CC0 1.0; NOTICE credits
    every author, and the file holds the licence and creator of each shape.

    Returns:
        ShapeSet with xyz (M, 1024, 3) float32, centroid removed, largest radius 1, z up.
    """
    with as_file(files("foundry_edge") / "assets" / SAMPLES) as path:
        return load_npz(path)
