"""Distil a teacher into one elastic SuperToken student (Foundry section 3)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from foundry_edge.data.corpus import grouped_corpus, training_side
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST, ShapeSet, load_sets
from foundry_edge.evaluation.fidelity import Fidelity, fidelity
from foundry_edge.models.config import Query, StudentConfig, checked
from foundry_edge.models.load import load_teacher, model_folder
from foundry_edge.models.store import save_weights, weights_sha256
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.engine import train
from foundry_edge.training.objective import Distillation
from foundry_edge.training.plot import plot_loss
from foundry_edge.training.report import Report
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.targets import TeacherTargets, teacher_targets
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import write_text

HELD_OUT_SHAPES = 256
VARIANTS = 4
"""Groupings per shape; the last is one-sided, so that students are faithful on scans too."""


@dataclass(frozen=True)
class BudgetResult:
    """Agreement with the teacher at one budget, on held-out shapes, before and after distillation."""

    tokens: int
    before: Fidelity
    after: Fidelity


@dataclass(frozen=True)
class DistillReport:
    """What `distill` did.

    Attributes:
        out: folder of the student.
        teacher: name of the teacher.
        data: names of the data sets.
        shapes: training shapes.
        held_out: shapes of the fidelity figures, never trained on.
        seconds: wall time.
        budgets: one result per SuperToken budget.
    """

    out: Path
    teacher: str
    data: tuple[str, ...]
    shapes: int
    held_out: int
    seconds: float
    budgets: tuple[BudgetResult, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"schema": 1, **asdict(self), "out": str(self.out)}


def distill(
    teacher: str | Path = "embedded:teacher",
    data: list[Path] | None = None,
    *,
    tokens: tuple[int, ...] = (1, 2, 4, 8, 16),
    out: Path = Path("foundry-out/student"),
    query: Query = "anchored",
    views: int = 8,
    settings: TrainSettings | None = None,
    resume: bool = False,
) -> DistillReport:
    """Distil ``teacher`` into one student that serves every budget in ``tokens``.

    Tokenizer and positions are frozen and shared, so the teacher runs once over ``views`` views of every
    shape and training works on its cached tokens and features.

    Args:
        teacher: folder or ``embedded:teacher``.
        data: .npz data sets or folders of them; None is the embedded sample set. Only training sides are
            trained on; the figures come from the test sides.
        tokens: SuperToken budgets, ascending.
        out: folder for config.json, model.safetensors, report.json, log.jsonl, loss.png and a checkpoint.
        query: how DSO's queries are formed.
        views: views per shape, the first plain, the others augmented.
        settings: optimisation settings.
        resume: continue from the checkpoint in ``out``.

    Raises:
        CheckpointError: teacher or checkpoint is missing, damaged or of another kind.
        DataError: nothing to train on, or the loss diverged.
    """
    started = time.perf_counter()
    settings = (settings or TrainSettings()).resolved()
    console = Console(stderr=True)
    teacher_model = load_teacher(teacher)
    student = _fresh_student(
        teacher_model, weights_sha256(model_folder(teacher)), tokens, query, settings.seed
    )
    sets = [load_samples()] if data is None else load_sets(data)
    fit, check = split_sides(sets)
    targets, held_out = _cache_targets(teacher_model, fit, check, views, settings, out / "cache", console)
    before = measure(student, held_out)
    write_text(out / "settings.json", settings.model_dump_json(indent=2) + "\n")
    _train(student, targets, settings, out, console, resume)
    after = measure(student, held_out)
    save_weights(out, student.config, student)
    plot_loss(out / "log.jsonl", out / "loss.png")
    result = DistillReport(
        out=out,
        teacher=str(teacher),
        data=tuple(s.name for s in sets),
        shapes=sum(map(len, fit)),
        held_out=len(held_out),
        seconds=round(time.perf_counter() - started, 1),
        budgets=tuple(BudgetResult(s, before[s], after[s]) for s in tokens),
    )
    write_text(out / "report.json", json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def _fresh_student(
    teacher: Teacher, digest: str, tokens: tuple[int, ...], query: Query, seed: int
) -> Student:
    torch.manual_seed(seed)
    config = checked(StudentConfig, teacher=teacher.config, teacher_sha256=digest, tokens=tokens, query=query)
    student = Student(config)
    student.start_from(teacher)
    return student


def _train(
    student: Student,
    targets: TeacherTargets,
    settings: TrainSettings,
    out: Path,
    console: Console,
    resume: bool,
) -> None:
    if not resume:
        (out / "log.jsonl").unlink(missing_ok=True)
    objective = Distillation(student, targets)
    with Report("distill", out / "log.jsonl", console) as report:
        train(objective, objective, len(targets), settings, out / "checkpoint.pt", report.row, resume)


def split_sides(sets: list[ShapeSet]) -> tuple[list[ShapeSet], list[ShapeSet]]:
    """Training sides, and test sides for the figures (the training side's tail where there is no test side).

    Raises:
        DataError: there is no training shape.
    """
    fit = [s for s in training_side(sets) if len(s)]
    if not fit:
        raise DataError("the data hold no training shapes", remedy="mark some with split 0")
    check = [s.part(TEST) for s in sets if len(s.part(TEST))]
    if check:
        return fit, check
    last = fit[-1]
    tail = np.arange(len(last)) >= len(last) * 9 // 10
    return [*fit[:-1], last.where(~tail)], [last.where(tail)]


def _cache_targets(
    teacher: Teacher,
    fit: list[ShapeSet],
    check: list[ShapeSet],
    views: int,
    settings: TrainSettings,
    cache: Path,
    console: Console,
) -> tuple[TeacherTargets, TeacherTargets]:
    """The teacher's outputs on the training views, and on the held-out shapes as they are (float32)."""
    spec, variants = teacher.config.preprocessing, min(views, VARIANTS)
    with console.status("grouping"):
        groups = grouped_corpus(
            fit, spec, variants, settings.seed, cache, one_sided_variants=int(variants > 1)
        )
        held_out = grouped_corpus([s.first(HELD_OUT_SHAPES) for s in check], spec, 1, 0, cache)
    fast = torch.bfloat16 if settings.fabric_precision == "bf16-mixed" else torch.float32
    with _bar(console, "teacher") as advance:
        targets = teacher_targets(teacher, groups, views, settings.seed, fast, advance)
        return targets, teacher_targets(teacher, held_out, 1, settings.seed, torch.float32, advance)


@contextmanager
def _bar(console: Console, title: str) -> Iterator[Any]:
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@torch.no_grad()
def measure(student: Student, held_out: TeacherTargets) -> dict[int, Fidelity]:
    """Fidelity at every budget, from cached tokens (float32 arithmetic)."""
    student.eval()
    results = {}
    for count in student.config.tokens:
        features = []
        for rows in torch.arange(len(held_out)).split(64):
            tokens, centers = held_out.tokens[rows].float(), held_out.centers[rows]
            features.append(student.restore(tokens, student.position(centers), count)[0])
        results[count] = fidelity(torch.cat(features), held_out.features.float())
    return results
