"""Linear probe of a teacher beside random weights with calibrated batch norms.

    python benchmarks/teacher_probe.py ../shared/data/modelnet10.npz ../shared/data/infomr69.npz

Features are frozen; the probe is fitted on the training side and checked on the test side of each set. Random
weights are the baseline that any pre-training must beat: with calibrated batch norms they are a strong one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from foundry_edge.data.groupings import GroupedShapes, group_shapes
from foundry_edge.data.shapes import TEST, TRAIN, ShapeSet, load_npz
from foundry_edge.evaluation.features import global_features
from foundry_edge.evaluation.probe import probe_accuracy
from foundry_edge.models.load import load_teacher
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.files import write_text

RESULT = Path(__file__).parent / "results" / "teacher_probe.json"


def main() -> None:
    """Print and write one row per teacher and set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path, nargs="+", help=".npz data sets with labels and a split")
    parser.add_argument("--teacher", default="embedded:teacher", help="folder, or embedded:teacher")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the random weights")
    options = parser.parse_args()
    teacher = load_teacher(options.teacher)
    rows = []
    for path in options.sets:
        shapes = load_npz(path)
        grouped = group_shapes(shapes.xyz, teacher.config.preprocessing, 1, 0)
        for name, model in [(options.teacher, teacher), *_random(teacher, grouped, options.seeds)]:
            rows.append(
                {
                    "teacher": name,
                    "data": shapes.name,
                    "accuracy": round(_accuracy(model, shapes, grouped), 2),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    write_text(
        RESULT,
        json.dumps({"schema": 1, "protocol": "linear probe, test side", "rows": rows}, indent=2) + "\n",
    )


def _random(teacher: Teacher, grouped: GroupedShapes, seeds: int) -> list[tuple[str, Teacher]]:
    models = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = Teacher(teacher.config).requires_grad_(False)
        model.tokenizer.calibrate_batch_norm(grouped.groups[:256, 0].float())
        models.append((f"random weights, calibrated BN, seed {seed}", model))
    return models


def _accuracy(model: Teacher, shapes: ShapeSet, grouped: GroupedShapes) -> float:
    features = global_features(model.encode_groups, grouped)
    fit, check = shapes.split == TRAIN, shapes.split == TEST
    return probe_accuracy((features[fit], shapes.label[fit]), (features[check], shapes.label[check]))


if __name__ == "__main__":
    main()
