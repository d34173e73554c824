"""ShapeNetPart: 16,881 clouds of 16 categories with 50 parts (Yi et al. 2016), official split.

    shapenetcore_partanno_segmentation_benchmark_v0_normal/
        train_test_split/shuffled_{train,val,test}_file_list.json    "shape_data/02691156/<id>"
        02691156/<id>.txt                                            x y z nx ny nz part
    hdf5_data/
        {train,val,test}_hdf5_file_list.txt  ply_data_train0.h5 ...  data, label, pid (2048 points)

Training is train and val together, as papers have it. +y is up and is turned to +z.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundry_edge.data.archive import Array
from foundry_edge.data.clouds import rng_of, stacked
from foundry_edge.data.files import (
    read_json_list,
    read_lines,
    require,
    require_all,
    require_apart,
    require_plain,
)
from foundry_edge.data.hdf5 import integers, joined, read_arrays
from foundry_edge.data.shape_set import POINTS, TEST, TRAIN, Labels, ShapeSet, draw, z_up
from foundry_edge.data.shapenet import PARTS, SYNSETS
from foundry_edge_runtime.errors import DataError, ScanError
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.readers import read_points

TEXT = "https://shapenet.cs.stanford.edu/media/shapenetcore_partanno_segmentation_benchmark_v0_normal.zip"
HDF5 = "https://shapenet.cs.stanford.edu/media/shapenet_part_seg_hdf5_data.zip"
CLASSES = tuple(SYNSETS[synset] for synset in PARTS)
PART_CATEGORY = tuple(category for category, count in enumerate(PARTS.values()) for _ in range(count))
PART_NAMES = tuple(f"{SYNSETS[synset]}/{i}" for synset, count in PARTS.items() for i in range(count))
_COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "part")
_SIDES = (("train", TRAIN), ("val", TRAIN), ("test", TEST))
_TEXT_FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
_HDF5_FOLDER = "hdf5_data"


def matches(path: Path) -> bool:
    """Whether ``path`` is one of the two folders."""
    if not path.is_dir():
        return False
    listed = (path / "train_test_split").is_dir() or any(path.glob("*_hdf5_file_list.txt"))
    return listed or path.name in (_TEXT_FOLDER, _HDF5_FOLDER)


def load(path: Path) -> list[ShapeSet]:
    """Read both sides of the split.

    Raises:
        DataError: a file is missing or not of this form.
    """
    hdf5 = any(path.glob("*_hdf5_file_list.txt")) or path.name == _HDF5_FOLDER
    return [_load_hdf5(path) if hdf5 else _load_text(path)]


def _load_text(root: Path) -> ShapeSet:
    lists = require(root / "train_test_split", TEXT)
    entries = [
        (root / synset / f"{name}.txt", synset, side)
        for word, side in _SIDES
        for synset, name in _listed(lists / f"shuffled_{word}_file_list.json")
    ]
    paths = [path for path, _, _ in entries]
    require_all(paths, "the split", TEXT)
    sides = [[f"{s}/{path.stem}" for path, s, at in entries if at == side] for side in (TRAIN, TEST)]
    require_apart(sides, lists / "shuffled_test_file_list.json", TEXT)
    table = stacked(paths, _labelled_cloud, f"labelled {POINTS}")
    order = list(PARTS)
    label = np.array([order.index(synset) for _, synset, _ in entries], dtype=np.int64)
    return _set(
        xyz=table[..., :3],
        part=_parts(table[..., 3], label, paths),
        label=label,
        split=[side for _, _, side in entries],
        ids=tuple(f"{synset}/{path.stem}" for path, synset, _ in entries),
    )


def _listed(path: Path) -> list[tuple[str, str]]:
    """Category and name of every shape of a list."""
    lines = [line.split("/") for line in read_json_list(path, TEXT)]
    for words in lines:
        if len(words) != 3 or words[1] not in PARTS:
            raise DataError(
                f"names {'/'.join(words)!r}, expected shape_data/<category of ShapeNetPart>/<id>",
                where=path,
                remedy=f"get it from {TEXT}",
            )
    require_plain([words[2] for words in lines], path, TEXT)
    return [(words[1], words[2]) for words in lines]


def _parts(part: FloatArray, label: Labels, paths: list[Path]) -> Labels:
    """Parts (M, P) of the text form, each of its shape's category."""
    category = np.array(PART_CATEGORY)
    low, high = (np.searchsorted(category, label, side)[:, None] for side in ("left", "right"))
    wrong = ~((part >= low) & (part < high) & (part == np.floor(part)))  # NaN compares false
    bad = np.flatnonzero(wrong.any(axis=1))
    if len(bad):
        i = bad[0]
        span = f"{CLASSES[label[i]]} has the parts {low[i, 0]} to {high[i, 0] - 1}"
        problem = f"a part is numbered {part[i][wrong[i]][0]:g}, but {span}"
        raise DataError(problem, where=paths[i], remedy=f"get it from {TEXT}")
    return part.astype(np.int64)


def _labelled_cloud(path: Path) -> FloatArray:
    """(2048, 4) float32: points in random order, centred, largest radius 1, and their part."""
    try:
        cloud = read_points(path, columns=_COLUMNS)
    except ScanError as error:
        reason = error.problem.replace("--columns names", "the data set has")
        problem = f"expected rows {' '.join(_COLUMNS)} ({reason})"
        raise DataError(problem, where=path, remedy=f"get it from {TEXT}") from error
    xyz, index = draw(cloud.xyz, POINTS, rng_of(path.stem))
    part = np.asarray(cloud.attributes["part"], dtype=np.float32)[index]
    return np.concatenate([xyz, part[:, None]], axis=1)


def _load_hdf5(root: Path) -> ShapeSet:
    points, parts, labels, split, ids = [], [], [], [], []
    read: list[Path] = []
    for word, side in _SIDES:
        listed = f"{word}_hdf5_file_list.txt"
        files = [root / Path(line).name for line in read_lines(root / listed, HDF5)]
        require_all(files, listed, HDF5)
        for file in files:
            found = read_arrays(file, ("data", "label", "pid"), HDF5)
            count, shape = len(PART_NAMES), found["data"].shape[:2]
            pid = integers(found["pid"], "pid", shape, count, file, HDF5)
            xyz, part = _shuffled(found["data"], pid, file.stem)
            points.append(xyz)
            parts.append(part)
            labels.append(integers(found["label"], "label", shape[:1], len(CLASSES), file, HDF5))
            read.append(file)
            split += [side] * len(xyz)
            ids += [f"{file.stem}/{i}" for i in range(len(xyz))]
    xyz = joined(points, read, HDF5)
    return _set(xyz, np.concatenate(parts), np.concatenate(labels), split, tuple(ids))


def _shuffled(data: Array, pid: Labels, name: str) -> tuple[FloatArray, Labels]:
    rng, draws = rng_of(name), []
    for cloud in np.asarray(data, dtype=np.float32):
        draws.append(draw(cloud, len(cloud), rng))
    part = np.stack([row[index] for row, (_, index) in zip(pid, draws, strict=True)])
    return np.stack([xyz for xyz, _ in draws]), part


def _set(
    xyz: FloatArray,
    part: Labels,
    label: Labels,
    split: list[int],
    ids: tuple[str, ...],
) -> ShapeSet:
    return ShapeSet(
        name="shapenetpart",
        xyz=z_up(np.ascontiguousarray(xyz), "y"),
        label=label,
        classes=CLASSES,
        split=np.array(split, dtype=np.uint8),
        ids=ids,
        part_label=part.astype(np.uint8),
        part_names=PART_NAMES,
        part_category=PART_CATEGORY,
    )
