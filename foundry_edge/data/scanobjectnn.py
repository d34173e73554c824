"""ScanObjectNN, real scans of 15 classes (Uy et al. 2019), as its HDF5 files with the official splits.

    h5_files/main_split/training_objectdataset.h5                         OBJ-BG (with test_...)
    h5_files/main_split/training_objectdataset_augmentedrot_scale75.h5    PB-T50-RS, the hardest
    h5_files/main_split_nobg/training_objectdataset.h5                    OBJ-ONLY

A file names its own variant; a folder names every variant in it. +y is up and is turned to +z.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundry_edge.data.hdf5 import integers, joined, read_arrays
from foundry_edge.data.modelnet import shuffled
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet, z_up
from foundry_edge_runtime.errors import DataError

SOURCE = "https://hkust-vgd.github.io/scanobjectnn"
CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table",
    "bed", "pillow", "sink", "sofa", "toilet",
)  # fmt: skip
VARIANTS = {
    "_objectdataset": "obj",
    "_objectdataset_augmented25_norot": "pb_t25",
    "_objectdataset_augmented25rot": "pb_t25_r",
    "_objectdataset_augmentedrot": "pb_t50_r",
    "_objectdataset_augmentedrot_scale75": "pb_t50_rs",
}
_SIDES = (("training", TRAIN), ("test", TEST))
_FOLDERS = ("main_split", "main_split_nobg")


def matches(path: Path) -> bool:
    """Whether ``path`` is one of the files, a folder of them, or the folder h5_files."""
    if path.is_file():
        return _suffix(path) is not None
    return path.name in _FOLDERS or bool(_folders(path)) or bool(_suffixes(path))


def load(path: Path) -> list[ShapeSet]:
    """Read the variant that a file names, or every variant in a folder.

    Raises:
        DataError: a file is missing or not of this form.
    """
    if path.is_file():
        return [_variant(path.parent, str(_suffix(path)))]
    folders = [path] if _suffixes(path) else _folders(path)
    found = [(folder, suffix) for folder in folders for suffix in _suffixes(folder)]
    if not found:
        raise DataError("the folder holds no *_objectdataset*.h5", where=path, remedy=f"get it from {SOURCE}")
    return [_variant(folder, suffix) for folder, suffix in found]


def _suffix(path: Path) -> str | None:
    """What follows "training" or "test" in the name; None for any other file."""
    for side, _ in _SIDES:
        rest = path.stem.removeprefix(side)
        if path.suffix == ".h5" and path.stem.startswith(side) and rest in VARIANTS:
            return rest
    return None


def _suffixes(folder: Path) -> list[str]:
    found = {_suffix(path) for path in folder.glob("*_objectdataset*.h5")}
    return [suffix for suffix in VARIANTS if suffix in found]


def _folders(path: Path) -> list[Path]:
    return [path / name for name in _FOLDERS if (path / name).is_dir()]


def _variant(folder: Path, suffix: str) -> ShapeSet:
    points, labels, split, ids = [], [], [], []
    files = [folder / f"{side}{suffix}.h5" for side, _ in _SIDES]
    for file, (_, number) in zip(files, _SIDES, strict=True):
        found = read_arrays(file, ("data", "label"), SOURCE)
        points.append(shuffled(np.asarray(found["data"], dtype=np.float32), file.stem))
        labels.append(integers(found["label"], "label", (len(points[-1]),), len(CLASSES), file, SOURCE))
        split += [number] * len(points[-1])
        ids += [f"{file.stem}/{i}" for i in range(len(points[-1]))]
    return ShapeSet(
        name=_name(folder, suffix),
        xyz=z_up(joined(points, files, SOURCE), "y"),
        label=np.concatenate(labels),
        classes=CLASSES,
        split=np.array(split, dtype=np.uint8),
        ids=tuple(ids),
    )


def _name(folder: Path, suffix: str) -> str:
    without_background = folder.resolve().name.endswith("_nobg")
    if VARIANTS[suffix] == "obj":
        return "scanobjectnn_obj_only" if without_background else "scanobjectnn_obj_bg"
    return f"scanobjectnn_{VARIANTS[suffix]}" + ("_nobg" if without_background else "")
