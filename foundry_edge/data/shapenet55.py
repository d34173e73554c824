"""ShapeNet55 in Point-BERT's form: 52,470 clouds of 8192 points, official split.

    ShapeNet55-34/ShapeNet-55/train.txt  test.txt       lines as 02691156-<id>.npy
    ShapeNet55-34/shapenet_pc/02691156-<id>.npy         (8192, 3)

The lists may also lie beside shapenet_pc. +y is up and is turned to +z.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundry_edge.data.clouds import scan_points, stacked
from foundry_edge.data.files import read_lines, require, require_all, require_apart, require_plain
from foundry_edge.data.shape_set import POINTS, TEST, TRAIN, ShapeSet, z_up
from foundry_edge.data.shapenet import SYNSETS
from foundry_edge_runtime.errors import DataError

SOURCE = "https://github.com/lulutang0608/Point-BERT/blob/master/DATASET.md"
_LISTS = "ShapeNet-55"
_CLOUDS = "shapenet_pc"


def matches(path: Path) -> bool:
    """Whether ``path`` is the folder above, or the one of the lists."""
    named = path.name.lower().startswith(("shapenet55", "shapenet-55"))
    return path.is_dir() and (named or (path / _CLOUDS).is_dir())


def load(path: Path) -> list[ShapeSet]:
    """Read both sides of the split.

    Raises:
        DataError: a file is missing or a line names no category of ShapeNet.
        ScanError: a cloud cannot be read.
    """
    lists = path / _LISTS if (path / _LISTS).is_dir() else path
    root = path.parent if path.name == _LISTS and not (path / _CLOUDS).is_dir() else path
    clouds = require(root / _CLOUDS, SOURCE)
    listed = [lists / f"{side}.txt" for side in ("train", "test")]
    sides = [read_lines(file, SOURCE) for file in listed]
    labels = [label for file, side in zip(listed, sides, strict=True) for label in _classes(side, file)]
    require_apart(sides, listed[1], SOURCE)
    names = [name for side in sides for name in side]
    paths = [clouds / name for name in names]
    require_all(paths, "the split", SOURCE)
    xyz = stacked(paths, lambda scan: scan_points(scan, scan.stem), f"scan {POINTS}")
    classes = tuple(sorted(SYNSETS.values()))
    return [
        ShapeSet(
            name="shapenet55",
            xyz=z_up(xyz, "y"),
            label=np.array([classes.index(label) for label in labels], dtype=np.int64),
            classes=classes,
            split=np.repeat(np.array([TRAIN, TEST], dtype=np.uint8), [len(side) for side in sides]),
            ids=tuple(Path(name).stem for name in names),
        )
    ]


def _classes(names: list[str], where: Path) -> list[str]:
    require_plain(names, where, SOURCE)
    synsets = [name.partition("-")[0] for name in names]
    for name, synset in zip(names, synsets, strict=True):
        if synset not in SYNSETS:
            problem = f"names {name!r}, which begins with no category of ShapeNet"
            raise DataError(problem, where=where, remedy=f"get it from {SOURCE}")
    return [SYNSETS[synset] for synset in synsets]
