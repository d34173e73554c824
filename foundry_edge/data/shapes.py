"""Data sets from the paths a user names; the form of each is recognised by what lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from foundry_edge.data import class_folders, modelnet, scanobjectnn, shapenet55, shapenetpart
from foundry_edge.data.npz import is_set, load_npz
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.readers import is_scan_name

__all__ = ["TEST", "TRAIN", "ShapeSet", "load_npz", "load_sets"]

Opener = Callable[[Path], list[ShapeSet]]

# The first whose `matches` holds opens the path; a new family is one module and one line here.
_PUBLISHED: tuple[tuple[Callable[[Path], bool], Opener], ...] = (
    (shapenetpart.matches, shapenetpart.load),
    (scanobjectnn.matches, scanobjectnn.load),
    (shapenet55.matches, shapenet55.load),
    (modelnet.matches, modelnet.load),
)

_TAKES = "give an .npz set, a folder of them, a folder of scans or a published data set, see docs/data.md"


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
    if not source.exists():
        raise DataError("no such file or folder", where=source, remedy=_TAKES)
    if source.suffix == ".npz":
        return [load_npz(source)]
    load = _published(source)
    archives = sorted(source.glob("*.npz")) if source.is_dir() else []
    if any(is_set(path) for path in archives):
        if load or class_folders.has_classes(source):
            raise _mixed(source, archives)
        return [load_npz(path) for path in archives]
    if load:
        return load(source)
    return _open_scans(source)


def _published(source: Path) -> Opener | None:
    return next((load for matches, load in _PUBLISHED if matches(source)), None)


def _mixed(source: Path, archives: list[Path]) -> DataError:
    more = f" and {len(archives) - 1} more" if len(archives) > 1 else ""
    return DataError(
        f"the folder holds {archives[0].name}{more} beside another data set",
        where=source,
        remedy="move one of them elsewhere",
    )


def _open_scans(source: Path) -> list[ShapeSet]:
    """Folders of scans, unless a published set lies one folder deeper: it has classes of its own."""
    if not source.is_dir():
        what = "a single scan, no data set" if is_scan_name(source) else "no data set of a known form"
        raise DataError(f"is {what}", where=source, remedy=_TAKES)
    inner = [path for path in sorted(source.iterdir()) if path.is_dir() and _published(path)]
    if inner:
        raise DataError("the data set lies one folder deeper", where=source, remedy=f"give {inner[0]}")
    if not class_folders.matches(source):
        raise DataError(
            "the folder holds no .npz data set and no data set of another known form",
            where=source,
            remedy=_TAKES,
        )
    return class_folders.load(source)
