"""The part of docs/results.md with every protocol, from the rows of evaluate_all.py; see tables.py."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.evaluate_all import BASELINES
from benchmarks.markdown import judged_cell, table
from foundry_edge.evaluation.rungs import open_rungs

COLUMNS = {
    "probe": {"accuracy": "linear"},
    "svm": {"accuracy": "SVM"},
    "finetune": {"accuracy": "fine-tuned"},
    "fewshot": {
        "5way_10shot": "5-way 10-shot",
        "10way_10shot": "10-way 10-shot",
        "10way_20shot": "10-way 20-shot",
        "all_10shot": "all classes 10-shot",
    },
    "parts": {
        "instance_miou": "instance mIoU",
        "class_miou": "class mIoU",
        "probe_instance_miou": "probe: instance mIoU",
        "probe_class_miou": "probe: class mIoU",
    },
    "fidelity": {"cosine_mean": "cosine", "cosine_worst": "worst cloud", "smooth_l1": "Smooth L1"},
}
"""Protocol -> metric -> how a column calls it."""
SHIPPED = ("embedded:teacher", "embedded:student", "embedded:bundle")
PLAIN = frozenset(COLUMNS["fidelity"])
Row = dict[str, Any]
Judged = tuple[str, int | None, str]


def section(folder: Path, teacher_sha256: str) -> str:
    """A table for each set: teacher, student at every budget, engines, baselines, random weights.

    Args:
        folder: of evaluate_all.py's results; "" is made of one without rows.
        teacher_sha256: whose baselines are drawn.
    """
    tables = []
    for path in sorted(folder.glob("evaluate_*.json")):
        rows = _current(json.loads(path.read_text(encoding="utf-8"))["rows"], teacher_sha256)
        if rows:
            sizes = f"{rows[0]['training_samples']} training shapes, {rows[0]['samples']} test shapes"
            tables += [f"### {rows[0]['data']}: {sizes}", _table(rows)]
    return "\n\n".join(tables)


def _current(rows: list[Row], teacher_sha256: str) -> list[Row]:
    """The rows of the weights that the models have now, of the teacher's baselines, and of random weights."""
    models = {row["model"] for row in rows if row["network_seed"] is None and "taught_by" not in row}
    digests = {rung.digest[:16] for name in models for rung in open_rungs(name)}
    return [
        row
        for row in rows
        if row["network_seed"] is not None
        or row["weights"] in digests
        or row.get("taught_by") == teacher_sha256[:16]
    ]


def _table(rows: list[Row]) -> str:
    judged: dict[Judged, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        judged[row["model"], row["tokens"], row["precision"]][row["protocol"]].append(row)
    columns = [
        (protocol, metric, title)
        for protocol, metrics in COLUMNS.items()
        for metric, title in metrics.items()
        if any(metric in row["metrics"] for row in rows if row["protocol"] == protocol)
    ]
    lines = [
        [_name(key[0]), "-" if key[1] is None else str(key[1]), key[2]]
        + [_cell(judged[key][protocol], metric) for protocol, metric, _ in columns]
        for key in sorted(judged, key=lambda key: (_place(key[0]), key[1] or 0, key[2]))
    ]
    return table(["model", "s", "precision", *(title for *_, title in columns)], lines)


def _place(model: str) -> int:
    """What ships comes first, random weights last."""
    known = [*SHIPPED, *BASELINES]
    return known.index(model) if model in known else len(known)


def _name(model: str) -> str:
    return f"500 steps: {BASELINES[model]}" if model in BASELINES else model.removeprefix("embedded:")


def _cell(rows: list[Row], metric: str) -> str:
    return judged_cell([row["metrics"] for row in rows], metric, 4 if metric in PLAIN else 1)
