"""Shapes: the embedded samples, .npz data sets, groupings kept on disk, the pre-training corpus."""
