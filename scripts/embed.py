"""Make everything that ships from one pre-trained teacher: heads, student, bundle, model card.

    foundry-edge pretrain --data ../shared/data --objective mae --epochs 8 --out runs/teacher
    python scripts/embed.py --data ../shared/data --teacher runs/teacher

The student may be distilled apart from it, with other options, from the teacher that is embedded already:

    foundry-edge distill --data ../shared/data --tokenizer lite --views 3 --out runs/student
    python scripts/embed.py --data ../shared/data --student runs/student

The heads of both anew, without distillation:

    python scripts/embed.py --data ../shared/data --heads

The head for parts alone, and the bundle with it:

    python scripts/embed.py --data ../shared/data --part-head

Writes foundry_edge/assets/{teacher,student} and the bundle in runtime/foundry_edge_runtime/assets. Weights
are rounded to half precision before anything is measured, so what is measured is what ships.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from foundry_edge.data.corpus import training_side
from foundry_edge.data.groupings import GroupedShapes, cached_groupings, joined
from foundry_edge.data.labels import merged, relabel
from foundry_edge.data.npz import save_npz
from foundry_edge.data.scenes import SCENE, make_scenes
from foundry_edge.data.shape_set import turned
from foundry_edge.data.shapes import TEST, ShapeSet, load_sets
from foundry_edge.load import ASSETS, load_part_head, load_student, load_teacher
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.heads import pool
from foundry_edge.models.part_head import PART_HEAD
from foundry_edge.models.store import save_weights
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import has_bf16
from foundry_edge.training.distill import distill
from foundry_edge.training.finetune import finetune
from foundry_edge.training.head import fit_head
from foundry_edge.training.settings import TrainSettings
from foundry_edge_export import export
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray

Array = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Encode = Callable[[Tensor, Tensor], list[Tensor]]
NAMED = ("modelnet10", "infomr69")
"""Sets whose classes the head knows; shapes of other sets with a class of the same name help to fit it."""
BUNDLE = ASSETS.parents[1] / "runtime" / "foundry_edge_runtime" / "assets" / "bundle"
PARTS = "parts_psb.npz"
"""The set that the head for parts is trained and judged on."""
PART_VIEWS, PART_EPOCHS, PART_RATE = 4, 40.0, 8e-3
SCENES = 1000
HEAD_HIDDEN = 256
"""Against a linear head, on a fifth of the training shapes kept back: 71.5 to 76.7 % over the views."""
WHOLE, TURNS, SIDES = 2, 2, 2
"""What the head is fitted on, for each shape: itself, counted twice, and one view of one side; turned about z
by each of two random angles, whole and in two views of one side (docs/model_card.md says what that gives)."""


def main() -> None:
    """Run every step; each writes its result before the next begins."""
    options = _options()
    sets = load_sets([options.data])
    vocabulary = tuple(sorted({*merged([s for s in sets if s.name in NAMED]), SCENE}))
    if teacher := ASSETS / "teacher" if options.heads else options.teacher:
        _embed_teacher(teacher, sets, vocabulary, options.work)
    if not options.part_head:
        student = ASSETS / "student" if options.heads else options.student or _distilled(options)
        _embed_student(student, sets, vocabulary, options.work)
    _embed_part_head(options.data / PARTS, options.work)
    evaluation = _evaluation_set(sets, vocabulary, options.work / "modelnet10+infomr69.npz")
    budgets = load_student().config.tokens
    exported = export(
        "embedded:student",
        tokens=budgets,
        precision=("fp32", "int8"),
        out=BUNDLE,
        evaluation_data=evaluation,
        parts_data=options.data / PARTS,
        scene=True,
    )
    print(f"bundle {exported.bundle_id} in {exported.bundle}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz data sets")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--teacher", type=Path, help="a pre-trained teacher; its student is distilled here")
    source.add_argument("--student", type=Path, help="a student of the embedded teacher")
    source.add_argument("--heads", action="store_true", help="only the heads of the embedded models")
    source.add_argument("--part-head", action="store_true", help="only the embedded student's head for parts")
    parser.add_argument("--work", type=Path, default=Path("runs/embed"), help="scratch folder")
    parser.add_argument("--steps", type=int, default=2000, help="distillation steps")
    parser.add_argument("--views", type=int, default=4, help="cached views per shape")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted distillation")
    return parser.parse_args()


def _distilled(options: argparse.Namespace) -> Path:
    out: Path = options.work / "student"
    report = distill(
        "embedded:teacher",
        [options.data],
        out=out,
        views=options.views,
        settings=TrainSettings(steps=options.steps, batch=64),
        resume=options.resume,
    )
    print(json.dumps(report.as_dict(), indent=2))
    return out


def _embed_teacher(folder: Path, sets: list[ShapeSet], vocabulary: tuple[str, ...], work: Path) -> None:
    """The teacher in half precision, with a head over ``vocabulary``."""
    bare = load_teacher(folder)
    save_weights(ASSETS / "teacher", bare.config, bare, half=True)
    rounded = load_teacher()
    grouped, labels = _labelled(sets, vocabulary, rounded.config, work)
    features = _pooled(lambda g, c: [rounded.encode_groups(g, c)], grouped)
    _give_head(rounded, features, labels, vocabulary)
    config = rounded.config.model_copy(update=_head_of(vocabulary))
    save_weights(ASSETS / "teacher", config, rounded, half=True)


def _embed_student(folder: Path, sets: list[ShapeSet], vocabulary: tuple[str, ...], work: Path) -> None:
    """The student in half precision, with a head fitted on its own features at every other budget."""
    distilled = load_student(folder)
    save_weights(ASSETS / "student", distilled.config, distilled, half=True)
    student = load_student()
    grouped, labels = _labelled(sets, vocabulary, student.config.teacher, work)
    features = _pooled(lambda g, c: _every_other_budget(student, g, c), grouped)
    _give_head(student, features, labels, vocabulary)
    theirs = student.config.teacher.model_copy(update=_head_of(vocabulary))
    config = student.config.model_copy(update={"teacher": theirs})
    save_weights(ASSETS / "student", config, student, half=True)


def _embed_part_head(data: Path, work: Path) -> None:
    """A head for parts on the embedded student, one for all of its budgets, in half precision."""
    report = finetune(
        "embedded:student",
        data,
        "parts",
        out=work / PART_HEAD,
        epochs=PART_EPOCHS,
        frozen=True,
        views=PART_VIEWS,
        settings=TrainSettings(batch=32, learning_rate=PART_RATE, weight_decay=0.05),
    )
    print(json.dumps(report.as_dict(), indent=2))
    head = load_part_head(report.out)
    save_weights(ASSETS / "student" / PART_HEAD, head.config, head, half=True)


def _every_other_budget(student: Student, groups: Tensor, centers: Tensor) -> list[Tensor]:
    tokens = student.tokenizer(groups)
    return [student.reconstruct(tokens, centers, count).features for count in student.config.tokens[::2]]


def _labelled(
    sets: list[ShapeSet], vocabulary: tuple[str, ...], config: TeacherConfig, work: Path
) -> tuple[GroupedShapes, Labels]:
    """Views of the training shapes of the vocabulary, and synthetic scenes; their labels."""
    spec, cache = config.preprocessing, work / "cache"
    parts, labels = [], []
    for shapes in training_side(sets):
        label = relabel(shapes, vocabulary) if shapes.classes else np.full(len(shapes), -1)
        known = shapes.where(label >= 0)
        if shapes.name in (*NAMED, "furniture") and len(known):
            views = _views(known.xyz, spec, cache)
            parts += views
            labels += len(views) * [label[label >= 0]]
    scenes = make_scenes(
        np.concatenate([s.xyz for s in training_side(sets) if s.name in NAMED]), SCENES, seed=1
    )
    parts.append(cached_groupings(scenes, spec, 1, 1, cache))
    labels.append(np.full(SCENES, vocabulary.index(SCENE)))
    return joined(parts), np.concatenate(labels)


def _views(xyz: FloatArray, spec: Preprocessing, cache: Path) -> list[GroupedShapes]:
    """All shapes (M, P, 3) in each of the views that the head is fitted on."""
    whole, side = cached_groupings(xyz, spec, 2, 1, cache, 1).variants()
    views = [*WHOLE * [whole], side]
    for seed in range(1, TURNS + 1):
        other = turned(xyz, np.random.default_rng(seed))
        views += cached_groupings(other, spec, 1 + SIDES, seed, cache, SIDES).variants()
    return views


@torch.no_grad()
def _pooled(encode: Encode, data: GroupedShapes) -> list[Array]:
    """Global features (M, 2d) of each output of ``encode``."""
    outputs: list[list[Tensor]] = []
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16("cpu")):
        for index in torch.arange(len(data)).split(64):
            features = encode(*data.batch(index, torch.zeros_like(index)))
            outputs.append([pool(f.float()) for f in features])
    return [torch.cat(column).numpy() for column in zip(*outputs, strict=True)]


def _give_head(
    model: Teacher | Student, features: list[Array], labels: Labels, vocabulary: tuple[str, ...]
) -> None:
    """One head for all outputs of a model, in its place."""
    stacked = np.concatenate(features)
    model.head = fit_head(stacked, np.tile(labels, len(features)), len(vocabulary), HEAD_HIDDEN)


def _head_of(vocabulary: tuple[str, ...]) -> dict[str, object]:
    """What a config says of that head."""
    return {"labels": vocabulary, "head_hidden": HEAD_HIDDEN}


def _evaluation_set(sets: list[ShapeSet], vocabulary: tuple[str, ...], path: Path) -> Path:
    """The test sides of the named sets as one data set with the head's classes."""
    tests = [s.part(TEST) for s in sets if s.name in NAMED]
    label = np.concatenate([relabel(s, vocabulary) for s in tests])
    xyz, split = (np.concatenate(column) for column in zip(*((s.xyz, s.split) for s in tests), strict=True))
    ids = tuple(f"{s.name}/{name}" for s in tests for name in s.ids)
    save_npz(path, ShapeSet(path.stem, xyz, label, vocabulary, split, ids))
    return path


if __name__ == "__main__":
    main()
