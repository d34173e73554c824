"""Make the embedded sample set from the furniture shapes and their licence list.

    python scripts/make_samples.py furniture.npz --licences furniture_licences.csv     (from ../shared/data)

Takes every shape of the classes below and the first 1024 of its points. Split and ids are those of the
source, so the test shapes stay unseen by whatever trains on the source's training split. Test shapes about
as near to a training shape of their class as two samplings of one surface are to each other are left out as
near-copies. Plugs, windows and doors are left out for that reason: hardly a test shape would remain.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

CLASSES = (
    *(
        "animal",
        "armchair",
        "bathroom_fixture",
        "bed",
        "bike",
        "bottle",
        "box_basket",
        "cabinet",
        "car",
        "chair",
    ),
    *("cup_glass", "desk", "lamp", "large_appliance", "person", "plant", "shelf", "sofa", "table"),
)
POINTS = 1024
COPY = 1.15  # a copy is at most this much farther away than a second sampling of the shape itself
SAMPLES = Path(__file__).resolve().parents[1] / "foundry_edge" / "assets" / "furniture.npz"

Points = npt.NDArray[np.int16]
Table = dict[str, Any]  # arrays by name


def chamfer(a: Points, b: Points) -> float:
    """Mean distance to the nearest point of the other cloud, both ways, in units of the int16 grid."""
    return float(cKDTree(a).query(b)[0].mean() + cKDTree(b).query(a)[0].mean()) / 2


def is_copy(shape: Points, others: Points) -> bool:
    """Whether a shape (2048, 3) is about as near to one of ``others`` (M, 2048, 3) as to itself."""
    first, second = shape[:POINTS], shape[POINTS : 2 * POINTS]
    resampled = chamfer(first, second)
    return any(chamfer(first, other[:POINTS]) <= COPY * resampled for other in others)


def chosen(points: Points, label: npt.NDArray[np.int64], split: npt.NDArray[np.uint8]) -> list[int]:
    """Indices of the shapes to keep: all training shapes, and the test shapes that are no copies."""
    keep = []
    for index in np.flatnonzero(label >= 0):
        known = points[(label == label[index]) & (split == 0)]
        if split[index] == 0 or not is_copy(points[index], known):
            keep.append(int(index))
    return keep


def credits(licences: Path, ids: npt.NDArray[np.str_]) -> Table:
    """Columns of the licence list for these ids: licence, creator, pack, original title and URL."""
    with licences.open(encoding="utf-8", newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    columns = {"licence": "licence", "creator": "creator", "pack": "pack"}
    columns |= {"title": "original_title_and_author", "url": "original_url"}
    return {
        key: np.array([" ".join(rows[i][column].split()).rstrip(",") for i in ids])
        for key, column in columns.items()
    }


def make(furniture: Path, licences: Path) -> Table:
    """The arrays of the sample file, in the layout that foundry_edge.data.shapes.load_npz reads."""
    source = np.load(furniture, allow_pickle=False)
    order = {name: i for i, name in enumerate(CLASSES)}
    label = np.array([order.get(str(source["classes"][i]), -1) for i in source["label"]])
    keep = chosen(source["points"], label, source["split"])
    table: Table = {
        "points": source["points"][keep, :POINTS],
        "label": label[keep].astype(np.int16),
        "split": source["split"][keep],
        "id": source["id"][keep],
        "classes": np.array(CLASSES),
        "name": source["name"][keep],
        "up": np.array("y"),
        "source": np.array(f"{source['source']}; a part of it, first {POINTS} points of each shape"),
    }
    return table | credits(licences, source["id"][keep])


def main() -> None:
    """Write the sample file and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("furniture", type=Path, help="furniture.npz")
    parser.add_argument("--licences", type=Path, required=True, help="furniture_licences.csv")
    parser.add_argument("--out", type=Path, default=SAMPLES)
    options = parser.parse_args()
    table = make(options.furniture, options.licences)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.out, **table)
    train = int((table["split"] == 0).sum())
    test = len(table["split"]) - train
    print(f"{options.out}: {train} train, {test} test, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
