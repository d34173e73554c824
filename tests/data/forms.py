"""Tiny data sets in the forms in which users have them on disk."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from foundry_edge.data.shapenet import PARTS
from foundry_edge.data.shapenetpart import CLASSES, PART_CATEGORY

TETRAHEDRON = "OFF\n4 4 6\n0 0 0\n{h} 0 0\n0 {h} 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"


def cloud(count: int, seed: int) -> np.ndarray:
    """An elongated blob, +y up: its extent along y is the largest."""
    xyz = np.random.default_rng(seed).uniform(-1, 1, size=(count, 3)) * [0.3, 1.0, 0.2]
    return np.asarray(xyz, dtype=np.float32)


def off_folders(root: Path) -> Path:
    """ModelNet10's OFF form: two classes, two training meshes and one test mesh each."""
    for height, label in ((1.0, "chair"), (3.0, "table")):
        for side, numbers in (("train", (1, 2)), ("test", (3,))):
            folder = root / label / side
            folder.mkdir(parents=True)
            for number in numbers:
                (folder / f"{label}_{number:04}.off").write_text(TETRAHEDRON.format(h=height))
    return root


def modelnet_text(root: Path, number: str = "40") -> Path:
    """modelnet40_normal_resampled: two classes, one of them with an underscore."""
    root.mkdir(exist_ok=True)
    (root / f"modelnet{number}_shape_names.txt").write_text("airplane\nnight_stand\n")
    (root / f"modelnet{number}_train.txt").write_text("airplane_0001\nnight_stand_0001\n")
    (root / f"modelnet{number}_test.txt").write_text("airplane_0002\n")
    for i, name in enumerate(("airplane_0001", "airplane_0002", "night_stand_0001")):
        folder = root / name.rsplit("_", 1)[0]
        folder.mkdir(exist_ok=True)
        np.savetxt(folder / f"{name}.txt", np.tile(cloud(100, i), 2), delimiter=",", fmt="%.6f")
    return root


def modelnet_hdf5(root: Path) -> Path:
    """modelnet40_ply_hdf5_2048: two training files, one test file."""
    root.mkdir()
    (root / "shape_names.txt").write_text("airplane\nbathtub\n")
    names = {"train": ("ply_data_train0.h5", "ply_data_train1.h5"), "test": ("ply_data_test0.h5",)}
    for side, files in names.items():
        listed = "".join(f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in files)
        (root / f"{side}_files.txt").write_text(listed)
        for name in files:
            write_h5(root / name, labels=np.array([[0], [1]], dtype=np.uint8))
    return root


def write_h5(
    path: Path,
    labels: np.ndarray,
    pid: np.ndarray | None = None,
    points: int = 64,
    xyz: np.ndarray | None = None,
) -> None:
    """One HDF5 file of as many clouds as there are labels."""
    with h5py.File(path, "w") as file:
        file["data"] = xyz if xyz is not None else np.stack([cloud(points, i) for i in range(len(labels))])
        file["label"] = labels
        if pid is not None:
            file["pid"] = pid


def scanobjectnn(root: Path) -> Path:
    """h5_files with OBJ-BG, PB-T50-RS and OBJ-ONLY: three training scans, two test scans each."""
    for folder, suffixes in (
        ("main_split", ("_objectdataset", "_objectdataset_augmentedrot_scale75")),
        ("main_split_nobg", ("_objectdataset",)),
    ):
        (root / folder).mkdir(parents=True)
        for suffix in suffixes:
            write_h5(root / folder / f"training{suffix}.h5", np.array([0, 4, 14]))
            write_h5(root / folder / f"test{suffix}.h5", np.array([4, 9]))
    return root


def shapenet55(root: Path) -> Path:
    """Point-BERT's form: lists in ShapeNet-55, clouds in shapenet_pc."""
    (root / "ShapeNet-55").mkdir(parents=True)
    (root / "shapenet_pc").mkdir()
    names = ["02691156-a1.npy", "04379243-b2.npy", "03001627-c3.npy"]
    (root / "ShapeNet-55" / "train.txt").write_text("\n".join(names[:2]) + "\n")
    (root / "ShapeNet-55" / "test.txt").write_text(names[2] + "\n")
    for i, name in enumerate(names):
        np.save(root / "shapenet_pc" / name, cloud(100, i))
    return root


def shapenetpart_text(root: Path) -> Path:
    """Text form: one airplane to train, one in val, one table to test; the part follows x."""
    lists = root / "train_test_split"
    lists.mkdir(parents=True)
    entries = {"train": ("02691156", "a"), "val": ("02691156", "b"), "test": ("04379243", "c")}
    for i, (word, (synset, name)) in enumerate(entries.items()):
        (lists / f"shuffled_{word}_file_list.json").write_text(json.dumps([f"shape_data/{synset}/{name}"]))
        (root / synset).mkdir(exist_ok=True)
        xyz = cloud(200, i)
        first = PART_CATEGORY.index(list(PARTS).index(synset))
        part = first + (xyz[:, 0] > 0)
        rows = np.concatenate([xyz, np.zeros_like(xyz), part[:, None]], axis=1)
        np.savetxt(root / synset / f"{name}.txt", rows, fmt="%.6f")
    return root


def shapenetpart_hdf5(root: Path) -> Path:
    """HDF5 form: every category once per side, each point the first part of its category."""
    root.mkdir()
    labels = np.arange(len(CLASSES))
    pid = np.repeat([[PART_CATEGORY.index(label)] for label in labels], 64, axis=1)
    for word in ("train", "val", "test"):
        (root / f"{word}_hdf5_file_list.txt").write_text(f"ply_data_{word}0.h5\n")
        write_h5(root / f"ply_data_{word}0.h5", labels[:, None], pid)
    return root
