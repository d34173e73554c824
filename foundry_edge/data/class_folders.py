"""Folders of scans: one subfolder per class, in any format that the readers know (ModelNet's OFF form too).

ROOT/chair/train/chair_0001.off    class, then side of the split (ModelNet10 and ModelNet40 as published)
ROOT/train/chair/a.ply             side, then class
ROOT/chair/a.pcd                   class only: of each class, 20 % are held out
ROOT/a.laz                         no class: unlabelled, all for training
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge.data.clouds import scan_points, stacked
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


def load(path: Path) -> list[ShapeSet]:
    """Read a folder of scans as one set of 2048 points a shape, meshes sampled uniformly by area.

    Raises:
        DataError: only some scans lie below train and test, or a class has one side only.
        ScanError: a scan cannot be read.
    """
    entries = [_entry(path, scan) for scan in find_scans(path)]
    classes = tuple(sorted({entry.label for entry in entries if entry.label}))
    split = _split(path, entries)
    _check_sides(path, entries, split)
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
    side = next((folder for folder in folders[:2] if folder.lower() in SIDES), None)
    if side is not None:
        folders.remove(side)
    label = folders[0] if folders else ""
    return Entry(scan, relative.as_posix(), label, None if side is None else SIDES[side.lower()])


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


def _check_sides(root: Path, entries: list[Entry], split: npt.NDArray[np.uint8]) -> None:
    """A class folder with test but no train scans is an incomplete copy."""
    trained = {entry.label for entry, side in zip(entries, split, strict=True) if side == TRAIN}
    lacking = sorted({entry.label for entry in entries if entry.label} - trained)
    if lacking:
        raise DataError(
            f"class {lacking[0]} has test scans but none for training",
            where=root,
            remedy=f"complete it (ModelNet10 and ModelNet40 as OFF: {MODELNET})",
        )
