"""How well the embedded head names shapes that are seen whole, and as one camera sees them.

    python -m benchmarks.one_sided --data ../shared/data

Test sides of the sets that the head knows the classes of; each shape whole (what the bundle's accuracy is
measured on) and in `--views` simulated one-sided views: orthographic, from above more often than from below,
half of those with a piece of the floor (`foundry_edge.data.one_sided`). Teacher and student in PyTorch, and
the INT8 engines of the embedded bundle. Writes benchmarks/results/one_sided.json, for `benchmarks.tables`.
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
from foundry_edge.data.groupings import GroupedShapes, group_shapes
from foundry_edge.data.labels import relabel
from foundry_edge.data.shapes import TEST, ShapeSet, load_npz
from foundry_edge.evaluation.features import global_features
from foundry_edge.evaluation.rungs import BUNDLE, EvaluatedRung, open_rungs
from foundry_edge.models.heads import ClassificationHead
from foundry_edge.models.load import load_student, load_teacher
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import write_text
from foundry_edge_runtime.grouping import Preprocessing

RESULTS = Path(__file__).parent / "results" / "one_sided.json"
SETS = ("modelnet10", "infomr69")
SEED = 99
Labels = npt.NDArray[np.int64]
Row = dict[str, Any]


def test_views(sets: list[ShapeSet], spec: Preprocessing, views: int) -> GroupedShapes:
    """All test shapes: variant 0 whole, ``views`` more of one side."""
    parts = [group_shapes(s.part(TEST).xyz, spec, 1 + views, SEED, views) for s in sets]
    return GroupedShapes(torch.cat([p.groups for p in parts]), torch.cat([p.centers for p in parts]))


@torch.no_grad()
def accuracies(
    rung: EvaluatedRung, head: ClassificationHead, data: GroupedShapes, labels: Labels
) -> list[float]:
    """Percent named right, for each view."""
    found = []
    for view in range(data.groups.shape[1]):
        one = GroupedShapes(data.groups[:, view : view + 1], data.centers[:, view : view + 1])
        logits = head(torch.from_numpy(global_features(rung.encode, one)))
        found.append(100 * float((logits.argmax(dim=-1).numpy() == labels).mean()))
    return found


def subjects() -> Iterator[tuple[str, EvaluatedRung, ClassificationHead]]:
    """Teacher, student at every budget, INT8 engines; each with its head.

    Raises:
        DataError: an embedded model has no head.
    """
    teacher, student = load_teacher().head, load_student().head
    if teacher is None or student is None:
        raise DataError("the embedded models have no head", remedy="make them with scripts/embed.py")
    yield from (("teacher", rung, teacher) for rung in open_rungs("embedded:teacher"))
    yield from (("student", rung, student) for rung in open_rungs("embedded:student"))
    yield from (("bundle", rung, student) for rung in open_rungs(BUNDLE, precision="int8"))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the .npz data sets")
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of the sets to take")
    parser.add_argument("--views", type=int, default=4, help="one-sided views of each shape")
    parser.add_argument("--shapes", type=int, default=10**9, help="at most so many of each set")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    config = load_teacher().config
    sets = [load_npz(options.data / f"{name}.npz") for name in options.sets]
    sets = [s.part(TEST).first(options.shapes) for s in sets]
    labels = np.concatenate([relabel(s, config.labels) for s in sets])
    data = test_views(sets, config.preprocessing, options.views)
    rows = []
    for name, rung, head in subjects():
        whole, *sides = accuracies(rung, head, data, labels)
        rows.append(
            {
                "model": name,
                "tokens": rung.tokens,
                "precision": rung.precision,
                "whole": round(whole, 2),
                "one_sided": [round(value, 2) for value in sides],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    record = {"schema": 1, "bundle": load_bundle().manifest.id, "samples": len(labels), "rows": rows}
    write_text(options.out, json.dumps(record, indent=1) + "\n")


INTRODUCTION = (
    "Share of the test shapes that the embedded heads name right, whole and as one camera sees them "
    "(simulated, mean of the views): a scan is nearly always one-sided. Made by `python -m "
    "benchmarks.one_sided`."
)


def section(path: Path) -> str:
    """The table in docs/results.md; "" where the file is not there, or of another bundle."""
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if record.get("bundle") != load_bundle().manifest.id:
        return ""
    lines = [
        [
            row["model"],
            "-" if row["tokens"] is None else str(row["tokens"]),
            row["precision"],
            f"{row['whole']:.1f}",
            f"{np.mean(row['one_sided']):.1f}",
        ]
        for row in record["rows"]
    ]
    samples = f"{record['samples']} shapes, {len(record['rows'][0]['one_sided'])} one-sided views of each."
    made = table(["model", "s", "precision", "whole", "one-sided"], lines)
    return f"{INTRODUCTION} {samples}\n\n{made}"


if __name__ == "__main__":
    main()
