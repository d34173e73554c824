"""ModelNet10 and ModelNet40 as resampled text (with normals) and as HDF5, official splits.

    modelnet40_normal_resampled/        10,000 points a shape
        modelnet40_train.txt  modelnet40_test.txt  modelnet40_shape_names.txt  (and modelnet10_...)
        airplane/airplane_0001.txt      x,y,z,nx,ny,nz
    modelnet40_ply_hdf5_2048/           2048 points a shape
        train_files.txt  test_files.txt  shape_names.txt  ply_data_train0.h5 ...

The OFF folders are read by class_folders.py. Both forms here have +y up and are turned to +z.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge.data.clouds import rng_of, scan_points, stacked
from foundry_edge.data.files import read_lines, require_all, require_apart, require_plain
from foundry_edge.data.hdf5 import integers, joined, read_arrays
from foundry_edge.data.shape_set import POINTS, TEST, TRAIN, ShapeSet, draw, z_up
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.pointcloud import FloatArray

TEXT = "https://shapenet.cs.stanford.edu/media/modelnet40_normal_resampled.zip"
HDF5 = "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip"
_LIST = re.compile(r"modelnet(10|40)_(train|test)\.txt")
_SIDES = (("train", TRAIN), ("test", TEST))


def matches(path: Path) -> bool:
    """Whether ``path`` is one of the two folders, or a split file of the text form."""
    if path.is_file():
        return bool(_LIST.fullmatch(path.name))
    return _is_text(path) or _is_hdf5(path)


def load(path: Path) -> list[ShapeSet]:
    """Read one set: ModelNet40 where the folder has its lists, else ModelNet10; a list names its own.

    Raises:
        DataError: a file is missing or not of this form.
        ScanError: a text file cannot be read.
    """
    if path.is_file():
        return [_load_text(path.parent, str(_LIST.sub(r"\1", path.name)))]
    if _is_hdf5(path):
        return [_load_hdf5(path)]
    complete = (path / "modelnet40_train.txt").exists() or not (path / "modelnet10_train.txt").exists()
    return [_load_text(path, "40" if complete else "10")]


def _is_text(path: Path) -> bool:
    named = path.name == "modelnet40_normal_resampled"
    return named or any(_LIST.fullmatch(found.name) for found in path.glob("modelnet*.txt"))


def _is_hdf5(path: Path) -> bool:
    named = path.name == "modelnet40_ply_hdf5_2048"
    return named or ((path / "shape_names.txt").exists() and (path / "train_files.txt").exists())


def _load_text(root: Path, number: str) -> ShapeSet:
    classes = tuple(read_lines(root / f"modelnet{number}_shape_names.txt", TEXT))
    lists = [root / f"modelnet{number}_{side}.txt" for side, _ in _SIDES]
    sides = [read_lines(path, TEXT) for path in lists]
    for path, names in zip(lists, sides, strict=True):
        _check_names(names, classes, path)
    require_apart(sides, lists[1], TEXT)
    ids, split = _names_and_split(sides)
    labels = [_class(name) for name in ids]
    paths = [root / label / f"{name}.txt" for label, name in zip(labels, ids, strict=True)]
    require_all(paths, f"the split of modelnet{number}", TEXT)
    return ShapeSet(
        name=f"modelnet{number}",
        xyz=z_up(stacked(paths, lambda scan: scan_points(scan, scan.stem), f"scan {POINTS}"), "y"),
        label=np.array([classes.index(label) for label in labels], dtype=np.int64),
        classes=classes,
        split=split,
        ids=ids,
    )


def _class(name: str) -> str:
    return name.rsplit("_", 1)[0]


def _check_names(names: list[str], classes: tuple[str, ...], where: Path) -> None:
    require_plain(names, where, TEXT)
    unknown = [name for name in names if _class(name) not in classes]
    if unknown:
        problem = f"names {unknown[0]}, but {_class(unknown[0])} is not in the shape names"
        raise DataError(problem, where=where, remedy=f"get it from {TEXT}")


def _names_and_split(sides: list[list[str]]) -> tuple[tuple[str, ...], npt.NDArray[np.uint8]]:
    names = tuple(name for side in sides for name in side)
    split = np.repeat(np.array([TRAIN, TEST], dtype=np.uint8), [len(side) for side in sides])
    return names, split


def _load_hdf5(root: Path) -> ShapeSet:
    classes = tuple(read_lines(root / "shape_names.txt", HDF5))
    points: list[FloatArray] = []
    labels: list[npt.NDArray[np.int64]] = []
    ids: list[list[str]] = []
    read: list[Path] = []
    for side, _ in _SIDES:
        ids.append([])
        files = [root / Path(line).name for line in read_lines(root / f"{side}_files.txt", HDF5)]
        require_all(files, f"{side}_files.txt", HDF5)
        for file in files:
            found = read_arrays(file, ("data", "label"), HDF5)
            points.append(shuffled(np.asarray(found["data"], dtype=np.float32), file.stem))
            labels.append(integers(found["label"], "label", (len(points[-1]),), len(classes), file, HDF5))
            read.append(file)
            ids[-1] += [f"{file.stem}/{i}" for i in range(len(points[-1]))]
    names, split = _names_and_split(ids)
    xyz = z_up(joined(points, read, HDF5), "y")
    return ShapeSet("modelnet40", xyz, np.concatenate(labels), classes, split, names)


def shuffled(xyz: FloatArray, name: str) -> FloatArray:
    """Clouds (M, P, 3) with the points of each in random order, centred, largest radius 1."""
    rng = rng_of(name)
    return np.stack([draw(cloud, xyz.shape[1], rng)[0] for cloud in xyz])
