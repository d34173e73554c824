"""How well the embedded heads name shapes as they are published, turned, and as one camera sees them.

    python -m benchmarks.scan_views --data ../shared/data

Published shapes of a class mostly face one way; scanned objects do not. Test sides of the sets whose classes
the head knows: each shape whole (what the bundle's accuracy is measured on) and as one camera sees it, both
as published and turned about z by a random angle. Cameras are simulated: orthographic, from above more often
than from below, half of those with a piece of the floor (`foundry_edge.data.one_sided`). Teacher and student
in PyTorch, and the INT8 engines of the embedded bundle. Writes benchmarks/results/scan_views.json, for
`benchmarks.tables`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.markdown import table
from benchmarks.measured import record_of
from foundry_edge.data.groupings import GroupedShapes, group_shapes, joined
from foundry_edge.data.labels import relabel
from foundry_edge.data.shape_set import turned
from foundry_edge.data.shapes import TEST, ShapeSet, load_npz
from foundry_edge.evaluation.rungs import BUNDLE, EvaluatedRung, open_rungs
from foundry_edge.load import load_student, load_teacher
from foundry_edge.measures.features import global_features
from foundry_edge.models.heads import ClassificationHead
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import write_text
from foundry_edge_runtime.grouping import Preprocessing

RESULTS = Path(__file__).parent / "results" / "scan_views.json"
SETS = ("modelnet10", "infomr69")
COLUMNS = ("whole", "one side", "whole, turned", "one side, turned")
SEED = 99
Labels = npt.NDArray[np.int64]
Row = dict[str, Any]


def views(sets: list[ShapeSet], spec: Preprocessing) -> dict[str, GroupedShapes]:
    """Every shape in each of the views of `COLUMNS`."""
    as_published = [s.xyz for s in sets]
    other = [turned(xyz, np.random.default_rng(SEED)) for xyz in as_published]
    made: list[GroupedShapes] = []
    for clouds in (as_published, other):
        made += joined([group_shapes(xyz, spec, 2, SEED, 1) for xyz in clouds]).variants()
    return dict(zip(COLUMNS, made, strict=True))


@torch.no_grad()
def accuracy(rung: EvaluatedRung, head: ClassificationHead, data: GroupedShapes, labels: Labels) -> float:
    """Percent named right."""
    logits = head(torch.from_numpy(global_features(rung.encode, data)))
    return round(100 * float((logits.argmax(dim=-1).numpy() == labels).mean()), 2)


def subjects() -> Iterator[tuple[str, EvaluatedRung, ClassificationHead]]:
    """Teacher, student at every budget, INT8 engines, each with its head; the student with the teacher's too.

    The last is what `distill` leaves, which fits no head.

    Raises:
        DataError: an embedded model has no head.
    """
    teacher, student = load_teacher().head, load_student().head
    if teacher is None or student is None:
        raise DataError("the embedded models have no head", remedy="make them with scripts/embed.py")
    yield from (("teacher", rung, teacher) for rung in open_rungs("embedded:teacher"))
    yield from (("student", rung, student) for rung in open_rungs("embedded:student"))
    yield from (("student, teacher's head", rung, teacher) for rung in open_rungs("embedded:student"))
    yield from (("bundle", rung, student) for rung in open_rungs(BUNDLE, precision="int8"))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz data sets")
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of the sets to take")
    parser.add_argument("--shapes", type=int, default=10**9, help="at most so many of each set")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    config = load_teacher().config
    sets = [load_npz(options.data / f"{name}.npz") for name in options.sets]
    sets = [s.part(TEST).first(options.shapes) for s in sets]
    labels = np.concatenate([relabel(s, config.labels) for s in sets])
    data = views(sets, config.preprocessing)
    rows: list[Row] = []
    for name, rung, head in subjects():
        row: Row = {"model": name, "tokens": rung.tokens, "precision": rung.precision}
        row["accuracy"] = {column: accuracy(rung, head, data[column], labels) for column in COLUMNS}
        rows.append(row)
        print(json.dumps(row), flush=True)
    record = {"schema": 1, "bundle": load_bundle().manifest.id, "samples": len(labels), "rows": rows}
    write_text(options.out, json.dumps(record, indent=1) + "\n")


INTRODUCTION = (
    "Share of the test shapes that the embedded heads name right, in percent: whole and as one camera sees "
    "them (simulated), as published and turned about z by a random angle. A scanned object is turned and "
    "seen from one side. Made by `python -m benchmarks.scan_views`."
)


def section(path: Path) -> str:
    """The table in docs/results.md; "" where the file is not there, or of another bundle."""
    record = record_of(path, "bundle", load_bundle().manifest.id)
    if record is None:
        return ""
    lines = [
        [row["model"], "-" if row["tokens"] is None else str(row["tokens"]), row["precision"]]
        + [f"{row['accuracy'][column]:.1f}" for column in COLUMNS]
        for row in record["rows"]
    ]
    made = table(["model", "s", "precision", *COLUMNS], lines)
    return f"{INTRODUCTION} {record['samples']} shapes.\n\n{made}"


if __name__ == "__main__":
    main()
