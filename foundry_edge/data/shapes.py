"""Data sets from the paths a user names; the form of each is recognised by what lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from foundry_edge.data import class_folders, modelnet, scanobjectnn, shapenet55, shapenetpart
from foundry_edge.data.npz import load_npz
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet
from foundry_edge_runtime.errors import DataError

__all__ = ["TEST", "TRAIN", "ShapeSet", "load_npz", "load_sets"]

Opener = Callable[[Path], list[ShapeSet]]

# The first whose `matches` holds opens the path; a new family is one module and one line here.
_FAMILIES: tuple[tuple[Callable[[Path], bool], Opener], ...] = (
    (shapenetpart.matches, shapenetpart.load),
    (scanobjectnn.matches, scanobjectnn.load),
    (shapenet55.matches, shapenet55.load),
    (modelnet.matches, modelnet.load),
    (class_folders.matches, class_folders.load),
)


def load_sets(sources: list[Path]) -> list[ShapeSet]:
    """Read every data set named.

    A source is an .npz file, a folder of them, the folder (or a split file) of ModelNet, ShapeNet55,
    ScanObjectNN or ShapeNetPart as published, or a folder with one subfolder of scans per class; docs/data.md
    shows each form.

    Raises:
        DataError: a source does not exist, is of none of these forms, or lacks a file; the message says
            which and where to get it.
    """
    return [shapes for source in sources for shapes in _open(Path(source))]


def _open(source: Path) -> list[ShapeSet]:
    if source.suffix == ".npz" or not source.exists():
        return [load_npz(source)]
    found = sorted(source.glob("*.npz")) if source.is_dir() else []
    if found:
        return [load_npz(path) for path in found]
    for matches, load in _FAMILIES:
        if matches(source):
            return load(source)
    if source.is_dir():
        raise DataError(
            "the folder holds no .npz data set and no data set of another known form",
            where=source,
            remedy="see docs/data.md",
        )
    return [load_npz(source)]
