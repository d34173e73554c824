"""Folders of scans: one subfolder per class, in any format that the readers know (ModelNet's OFF form too).

ROOT/chair/train/chair_0001.off    class, then side of the split (ModelNet10 and ModelNet40 as published)
ROOT/train/chair/a.ply             side, then class
ROOT/chair/a.pcd                   class only: of each class, 20 % are held out
ROOT/a.laz                         no class: unlabelled, all for training
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge.data.clouds import scan_points, stacked
from foundry_edge.data.npz import is_set
from foundry_edge.data.shape_set import POINTS, TEST, TRAIN, ShapeSet
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.readers import find_scans

SIDES = {"train": TRAIN, "training": TRAIN, "test": TEST, "testing": TEST}
HELD_OUT = 0.2
MODELNET = "https://modelnet.cs.princeton.edu"


@dataclass(frozen=True)
class Entry:
    """One scan: where it lies, its class ("" for none) and its side (None when no folder says)."""

    path: Path
    name: str
    label: str
    side: int | None


def matches(path: Path) -> bool:
    """Whether ``path`` is a folder with scans somewhere below."""
    return path.is_dir() and bool(find_scans(path))


def has_classes(path: Path) -> bool:
    """Whether scans lie in several folders of ``path``; .npz sets are none."""
    scans = [scan.relative_to(path) for scan in find_scans(path) if scan.suffix != ".npz" or not is_set(scan)]
    return len({scan.parts[0] for scan in scans if len(scan.parts) > 1}) > 1


def load(path: Path) -> list[ShapeSet]:
    """Read a folder of scans as one set of 2048 points a shape, meshes sampled uniformly by area.

    Raises:
        DataError: folders train and test lie too deep; only some scans lie below them, or a class has one
            of them only.
        ScanError: a scan cannot be read.
    """
    entries = [_entry(path, scan) for scan in find_scans(path)]
    _check_depth(path, entries)
    classes = tuple(sorted({entry.label for entry in entries if entry.label}))
    split = _split(path, entries)
    _check_sides(path, entries)
    names = {entry.path: entry.name for entry in entries}
    xyz = stacked([e.path for e in entries], lambda scan: scan_points(scan, names[scan]), f"scan {POINTS}")
    label = [classes.index(entry.label) if entry.label else -1 for entry in entries]
    return [
        ShapeSet(
            name=path.resolve().name,
            xyz=xyz,
            label=np.array(label, dtype=np.int64),
            classes=classes,
            split=split,
            ids=tuple(entry.name for entry in entries),
        )
    ]


def _entry(root: Path, scan: Path) -> Entry:
    relative = scan.relative_to(root)
    folders = list(relative.parts[:-1])
    at = _side_at(folders)
    if at is None:
        return Entry(scan, relative.as_posix(), folders[0] if folders else "", None)
    if at > 1:
        raise _too_deep(root, folders)
    side = SIDES[folders.pop(at).lower()]
    return Entry(scan, relative.as_posix(), folders[0] if folders else "", side)


def _side_at(folders: Sequence[str]) -> int | None:
    return next((i for i, folder in enumerate(folders) if folder.lower() in SIDES), None)


def _check_depth(root: Path, entries: list[Entry]) -> None:
    """One folder above everything, then the side, then folders: those are the classes, not the first."""
    parents = [Path(entry.name).parent.parts for entry in entries]
    if all(len(one) > 2 and one[0] == parents[0][0] and _side_at(one) == 1 for one in parents):
        raise _too_deep(root, parents[0])


def _too_deep(root: Path, folders: Sequence[str]) -> DataError:
    at = _side_at(folders) or 0
    inner = folders[: at if len(folders) > at + 1 else at - 1]
    return DataError(
        f"the folder {'/'.join(folders[: at + 1])} lies too deep for a split of this folder",
        where=root,
        remedy=f"give {root.joinpath(*inner)}",
    )


def _split(root: Path, entries: list[Entry]) -> npt.NDArray[np.uint8]:
    sides = [entry.side for entry in entries]
    if all(side is None for side in sides):
        return _own_split(entries)
    if None in sides:
        raise DataError(
            f"{entries[sides.index(None)].name} lies neither below train nor below test, others do",
            where=root,
            remedy="put every scan below train or test, or none",
        )
    return np.array(sides, dtype=np.uint8)


def _own_split(entries: list[Entry]) -> npt.NDArray[np.uint8]:
    """Of each class of at least two scans 20 %, at least one, by the checksum of the names."""
    split = np.full(len(entries), TRAIN, dtype=np.uint8)
    for label in {entry.label for entry in entries if entry.label}:
        members = [i for i, entry in enumerate(entries) if entry.label == label]
        members.sort(key=lambda i: zlib.crc32(f"split:{entries[i].name}".encode("utf-8", "surrogateescape")))
        held_out = max(round(HELD_OUT * len(members)), 1) if len(members) > 1 else 0
        split[members[:held_out]] = TEST
    return split


def _check_sides(root: Path, entries: list[Entry]) -> None:
    """Where folders name the side, a class that has one side only is an incomplete copy."""
    labels = {entry.label for entry in entries if entry.label and entry.side is not None}
    for number, word in ((TRAIN, "train"), (TEST, "test")):
        lacking = sorted(labels - {entry.label for entry in entries if entry.side == number})
        if lacking:
            raise DataError(
                f"class {lacking[0]} has no scan below {word}",
                where=root / lacking[0] if (root / lacking[0]).is_dir() else root,
                remedy=f"complete it (ModelNet10 and ModelNet40 as OFF: {MODELNET})",
            )
