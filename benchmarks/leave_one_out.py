"""What pre-training is worth on a set that it never saw: a teacher trained on all others, judged on that one.

    python -m benchmarks.leave_one_out --data ../shared/data --set infomr69 --without psb_extra parts_psb

The set is left out whole, test and training side, with every set named by `--without` (of the same origin),
and every shape of the others that equals one of its shapes or that the screen of docs/data.md calls a copy
of one. A teacher is then pre-trained on what is left (`foundry-edge pretrain --objective mae`; resumes), and
judged on the set beside `--teacher`, whose form it has and which saw the set's training side, and random
weights with calibrated batch norms. Writes benchmarks/results/leave_one_out.json, row by row, for
`benchmarks.tables`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import judged_cell, table
from benchmarks.measured import record_of
from foundry_edge.data.corpus import training_side
from foundry_edge.data.npz import save_npz
from foundry_edge.data.shapes import TEST, ShapeSet, load_sets
from foundry_edge.evaluation.evaluate import evaluate
from foundry_edge.evaluation.random_weights import random_teacher
from foundry_edge.load import load_teacher, teacher_digest
from foundry_edge.models.config import TeacherConfig
from foundry_edge.training.pretrain import pretrain
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).parent / "results" / "leave_one_out.json"
NETWORKS = 3
COLUMNS = {
    ("fewshot", "5way_10shot"): "5-way 10-shot",
    ("fewshot", "10way_10shot"): "10-way 10-shot",
    ("fewshot", "10way_20shot"): "10-way 20-shot",
    ("fewshot", "all_10shot"): "all classes 10-shot",
    ("probe", "accuracy"): "linear",
}
"""Protocol and metric -> how a column calls it."""
Row = dict[str, Any]


def unseen(sets: list[ShapeSet], name: str, without: tuple[str, ...]) -> tuple[list[ShapeSet], ShapeSet]:
    """Training sides of the other sets, without any shape of the set ``name``; and that set.

    Raises:
        InputError: one of the names is not there.
    """
    known = {shapes.name: shapes for shapes in sets}
    for one in (name, *without):
        if one not in known:
            raise InputError(f"no set {one!r} in the data", remedy=f"there are {', '.join(sorted(known))}")
    left = known[name]
    guarded = replace(left, split=np.full(len(left), TEST, dtype=np.uint8))
    others = [shapes for shapes in sets if shapes.name not in (name, *without)]
    return [shapes for shapes in training_side([*others, guarded]) if len(shapes)], left


def written(sides: list[ShapeSet], folder: Path) -> list[Path]:
    """The sets as .npz files, which `pretrain` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for shapes in sides:
        paths.append(folder / f"{shapes.name}.npz")
        save_npz(paths[-1], shapes)
    return paths


def main() -> None:
    """Pre-train, or go on with it; then judge all models and write a row for each."""
    options = _options()
    sides, left = unseen(load_sets(options.data), options.set, tuple(options.without))
    out = options.work / f"without-{left.name}"
    config = load_teacher(options.teacher).config.model_copy(update={"labels": ()})
    report = pretrain(
        written(sides, options.work / f"sets-without-{left.name}"),
        out,
        config=config,
        objective="mae",
        epochs=options.epochs,
        resume=(out / "config.json").is_file() or (out / "checkpoint-mae.pt").is_file(),
    )
    record: Row = {
        "schema": 1,
        "teacher_sha256": teacher_digest(options.teacher),
        "set": left.name,
        "without": options.without,
        "epochs": options.epochs,
        "shapes": report.shapes,
        "rows": [],
    }
    for label, path, seed in _subjects(left, out, config, options):
        row: Row = {"model": label, "network_seed": seed, "metrics": {}}
        for protocol in ("fewshot", "probe"):
            row["metrics"][protocol] = evaluate(path, left, protocol).rungs[0].metrics
        record["rows"].append(row)
        write_text(options.out, json.dumps(record, indent=1) + "\n")
        print(json.dumps(row), flush=True)


def _subjects(
    left: ShapeSet, out: Path, config: TeacherConfig, options: argparse.Namespace
) -> Iterator[tuple[str, str, int | None]]:
    yield f"pre-trained without {left.name}", str(out), None
    yield "teacher", options.teacher, None
    for seed in range(options.networks):
        folder = options.work / f"random-{left.name}-{config.width}x{config.depth}-{seed}"
        yield "random", str(random_teacher(config, left, seed, folder)), seed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="sets to pre-train on, and the one"
    )
    parser.add_argument("--set", default="infomr69", help="the set that is left out and judged on")
    parser.add_argument("--without", nargs="*", default=[], help="sets of the same origin, left out too")
    parser.add_argument("--epochs", type=float, default=8.0, help="passes of pre-training")
    parser.add_argument(
        "--teacher", default="embedded:teacher", help="the one that saw the set's training side"
    )
    parser.add_argument("--networks", type=int, default=NETWORKS, help="random networks")
    parser.add_argument("--work", type=Path, default=Path("runs/leave-one-out"), help="teachers and sets")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


INTRODUCTION = (
    "What pre-training is worth on shapes that it never saw: the set is left out of pre-training, test and "
    "training side, with sets of the same origin and near-copies in all others. Few-shot trials draw from "
    "the set's training side and are tested on its test side; ± is the sample standard deviation over trials "
    "(over networks for random weights). Made by `python -m benchmarks.leave_one_out`."
)


def section(path: Path, teacher_sha256: str) -> str:
    """The table in docs/results.md; "" where the file is not there, or of another teacher."""
    record = record_of(path, "teacher_sha256", teacher_sha256)
    if record is None:
        return ""
    also = f" (nor on {', '.join(record['without'])})" if record["without"] else ""
    recipe = (
        f"{record['set']}; the first row's teacher was pre-trained for {record['epochs']:g} passes over "
        f"{record['shapes']} shapes, none of them of {record['set']}{also}."
    )
    models = list(dict.fromkeys(row["model"] for row in record["rows"]))
    lines = []
    for model in models:
        rows = [row["metrics"] for row in record["rows"] if row["model"] == model]
        cells = [judged_cell([row[protocol] for row in rows], metric) for protocol, metric in COLUMNS]
        lines.append([model, *cells])
    return "\n\n".join([INTRODUCTION, recipe, table(["model", *COLUMNS.values()], lines)])


if __name__ == "__main__":
    main()
