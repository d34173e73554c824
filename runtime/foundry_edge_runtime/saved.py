"""What `--save` wrote, told from scans: folders of scans may hold results of an earlier run."""

from __future__ import annotations

from pathlib import Path

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.columns import AXES
from foundry_edge_runtime.readers.npz import POINT_KEYS, names_in
from foundry_edge_runtime.readers.source import open_source

PLY_HEAD = ("ply", "format binary_little_endian 1.0", "comment foundry-edge")
"""First lines of a PLY of coloured points."""
POINTS_NPY, POINTS_PLY = ".points.npy", ".points.ply"
"""What the files of every point end in, in the place of .npz."""
_ARRAYS = ("tokens", "centers", "global")


def is_result(path: Path) -> bool:
    """Whether a file is what `--save` wrote for a scan.

    What it holds decides, so that no scan is taken for a result: such an npz has no points that could be
    read, and such a PLY is marked. Features of every point have no room for a mark; their npz is beside them.
    """
    try:
        if path.name.endswith(POINTS_PLY):
            return _is_marked(path)
        if path.name.endswith(POINTS_NPY):
            return _holds_features(path.with_name(path.name.removesuffix(POINTS_NPY) + ".npz"))
        return path.suffix == ".npz" and _holds_features(path)
    except ScanError:  # for the reader to say
        return False


def _is_marked(path: Path) -> bool:
    with open_source(path) as source:
        return source.head.startswith("\n".join((*PLY_HEAD, "")).encode("ascii"))


def _holds_features(path: Path) -> bool:
    with open_source(path) as source:
        names = names_in(source)
    return names.issuperset(_ARRAYS) and names.isdisjoint((*POINT_KEYS, *AXES))
