"""Linear probes that choose between teachers: on the training sides alone, test sides untouched.

    python benchmarks/teacher_validation.py --data ../shared/data random runs/mae runs/jepa

For each teacher (a folder, or ``random``: random weights with calibrated batch norms): accuracy of a linear
probe on three of four folds of a set's training side, and of ten-shot ModelNet10 over ten draws. Appends to
benchmarks/results/teacher_validation.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from foundry_edge.data.corpus import training_side
from foundry_edge.data.groupings import GroupedShapes, cached_groupings
from foundry_edge.data.shapes import ShapeSet, load_npz
from foundry_edge.load import load_teacher
from foundry_edge.measures.features import global_features
from foundry_edge.measures.probe import fit_probe
from foundry_edge.models.config import VIT_TI
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import has_bf16
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).resolve().parent / "results" / "teacher_validation.json"
SETS = {"infomr69": 1989, "modelnet10": 1200, "furniture": 654}
SMALLEST_CLASS = 8
Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def main() -> None:
    """Judge every teacher named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("teachers", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        sets = {name: _part(options.data, name, count, Path(cache)) for name, count in SETS.items()}
        for name in options.teachers:
            teacher = _random_teacher(sets["infomr69"][1]) if name == "random" else load_teacher(name)
            _keep(name, _judge(teacher, sets))


def _part(folder: Path, name: str, count: int, cache: Path) -> tuple[ShapeSet, GroupedShapes]:
    shapes = training_side([load_npz(folder / f"{name}.npz")])[0]
    chosen = np.random.default_rng(1).permutation(len(shapes))[:count]
    shapes = shapes.where(np.isin(np.arange(len(shapes)), chosen))
    return shapes, cached_groupings(shapes.xyz, VIT_TI.preprocessing, 1, 0, cache)


def _random_teacher(data: GroupedShapes) -> Teacher:
    torch.manual_seed(0)
    teacher = Teacher(VIT_TI)
    index = torch.arange(256)
    teacher.tokenizer.calibrate_batch_norm(data.batch(index, torch.zeros_like(index))[0])
    return teacher


def _judge(teacher: Teacher, sets: dict[str, tuple[ShapeSet, GroupedShapes]]) -> dict[str, float]:
    figures = {}
    for name, (shapes, data) in sets.items():
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16("cpu")):
            features = global_features(teacher.encode_groups, data)
        classes, counts = np.unique(shapes.label, return_counts=True)
        known = np.isin(shapes.label, classes[counts >= SMALLEST_CLASS])
        figures[name] = _folds(features[known], shapes.label[known])
        if name == "modelnet10":
            figures["modelnet10 10-shot"] = _few_shot(features, shapes.label)
    return {name: round(100 * value, 1) for name, value in figures.items()}


def _score(features: Features, labels: Labels, fit: npt.NDArray[np.int64]) -> float:
    check = np.setdiff1d(np.arange(len(labels)), fit)
    return float(fit_probe(features[fit], labels[fit]).score(features[check], labels[check]))


def _folds(features: Features, labels: Labels) -> float:
    order = np.random.default_rng(0).permutation(len(labels))
    folds = np.array_split(order, 4)[:3]
    return float(np.mean([_score(features, labels, np.setdiff1d(order, fold)) for fold in folds]))


def _few_shot(features: Features, labels: Labels, shots: int = 10, draws: int = 10) -> float:
    scores = []
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        fit = [rng.permutation(np.flatnonzero(labels == c))[:shots] for c in np.unique(labels)]
        scores.append(_score(features, labels, np.concatenate(fit)))
    return float(np.mean(scores))


def _keep(name: str, figures: dict[str, float]) -> None:
    print(name, figures, flush=True)
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    write_text(RESULTS, json.dumps(known | {name: figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
